"""How much synthetic rows look like real ones."""
