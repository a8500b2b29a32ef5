"""Medical images: pixels and frequencies, what is summed over them, and images drawn from the released sums."""
