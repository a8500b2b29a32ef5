"""The hospital's console: what waits for a decision, what it would cost, and what was ever released."""
