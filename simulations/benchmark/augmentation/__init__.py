"""Benchmark of augmentation: what a hospital with few patients gains from the synthetic rows of a federation."""
