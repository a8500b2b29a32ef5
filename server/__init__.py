"""The coordinator: rounds, aggregation, the run folder and the release."""
