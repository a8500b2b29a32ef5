"""The process that has the network and no data."""
