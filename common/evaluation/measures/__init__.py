"""Measures of a synthetic table: the table of them, what they share, and the verdict that they lead to."""
