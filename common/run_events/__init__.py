"""What happens in a run, as values for logs, progress bars, timings and `events.jsonl`."""
