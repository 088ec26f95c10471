"""Devices made to be measured:
message types, partition code, a world, and ``build``, which writes a design.
"""
