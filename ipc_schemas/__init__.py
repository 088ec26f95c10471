"""Every shape that crosses a wall, and the one codec that reads and writes it.

This room imports nothing of ours. What is in it can be read by a partition, a gate, the monitor and the
tooling alike:

- ``bounds``        types with both ends bounded, and the walker that finds unbounded fields
- ``codec``         canonical MessagePack: one encoding per value, anything else is refused
- ``wire``          the fixed header of a message on a channel, and the window a gate opens
- ``window``        what partition code sees of a window: inputs to read, outputs to send
- ``links``         shapes on the monitor's own links (to gates, to the launcher, to the console)
- ``insulin_pump``  the message types of the reference device
"""
