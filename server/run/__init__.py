"""One run at the coordinator, step by step."""
