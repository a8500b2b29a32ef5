"""A deployment tried out on one machine."""
