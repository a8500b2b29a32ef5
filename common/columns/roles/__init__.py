"""What a column is in the eyes of privacy law: its role, by its name and by the shape of its cells."""
