"""What a column holds: its kinds, their values and how they are counted."""
