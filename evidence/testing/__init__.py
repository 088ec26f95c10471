"""How a design's author tests a device: boot it, attack it, and assert what must hold.

- ``harness``     boots a design, injects attacks, and says what may be asserted of the result; no pytest in it
- ``plugin``      the same as fixtures of pytest
- ``strategies``  Hypothesis strategies for what a port carries, nearly carries, and must never carry
- ``machine``     a Hypothesis state machine that is the taken-over partition of a real device
"""
