"""The chain of trust: each stage verifies the next one, measures it, and runs exactly the bytes it verified."""
