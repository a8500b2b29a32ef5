"""Studies in a browser: draft one from a public table, change it, simulate it, as the commands do."""
