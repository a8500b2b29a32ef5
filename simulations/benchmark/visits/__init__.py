"""Benchmark of synthetic visits: tables of patients with several rows, arms and measures of their own."""
