"""What synthetic rows are useful for."""
