"""The agent: the process that has the data and no network."""
