"""Confined code: the SDK, and the images of the reference device."""
