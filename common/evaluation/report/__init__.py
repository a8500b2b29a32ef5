"""The report: its JSON, its charts and its page."""
