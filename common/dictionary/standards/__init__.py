"""Standards by which other tools describe tables: a dictionary is imported from them, a study exported to them."""
