"""The process that has the data and no network."""
