"""Seeded chance without transcendental functions, so that a seed means the same on every host.

``random.Random.gauss`` calls the C library's ``log`` and ``cos``, whose last digits differ between hosts.
``bell`` adds uniforms instead.
"""

from __future__ import annotations

from random import Random


def stream(*names: object) -> Random:
    """A random stream of its own for these names: draws from one never shift another."""
    return Random("/".join(str(name) for name in names))


def bell(rng: Random) -> float:
    """Nearly a standard normal deviate, within -6 .. 6: twelve uniforms less six (Irwin-Hall)."""
    total = -6.0
    for _ in range(12):
        total += rng.random()
    return total


def spread(rng: Random, mean: float, deviation: float, low: float, high: float) -> float:
    """A draw around ``mean`` with standard deviation ``deviation``, clipped to ``low`` .. ``high``."""
    value = mean + deviation * bell(rng)
    return low if value < low else high if value > high else value
