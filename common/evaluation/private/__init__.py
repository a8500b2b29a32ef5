"""The private evaluation: what noisy counts of held-out patients say about a synthetic table."""
