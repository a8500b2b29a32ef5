"""How equally a synthetic table serves the groups of sensitive columns."""
