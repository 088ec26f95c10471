"""Campaigns: thousands of numbered experiments, handed out, kept as they come, and counted honestly."""
