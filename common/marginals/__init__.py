"""Noisy marginals: what is counted, what was measured, and how far a model is from it."""
