"""Estimates from what a run released, with intervals that hold the noise: post-processing, at no epsilon."""
