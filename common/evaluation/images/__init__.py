"""How close synthetic images are to real ones, what a classifier learns from them, and whether one is a copy."""
