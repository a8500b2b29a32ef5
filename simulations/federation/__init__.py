"""A federation of simulated hospitals on one machine."""
