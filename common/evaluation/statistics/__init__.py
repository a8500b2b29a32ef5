"""Intervals, resampling and column values that measures share."""
