"""What the walls cost: each figure beside a peer that was measured in the same run, interleaved with it.

``python -m benchmarks`` prints the table. Nothing here asserts a time: a figure is *met* or *not met* on this
machine under this load, and the table says which machine and which load that was.
"""
