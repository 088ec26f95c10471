"""The separation kernel: starts partitions, owns the schedule, verdicts, restarts and the journal."""
