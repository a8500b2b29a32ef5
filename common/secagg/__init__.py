"""Secure aggregation: a coordinator learns the sum of the hospitals' integer vectors and nothing else about them.

Bonawitz et al. 2017, "Practical secure aggregation for privacy-preserving machine learning", in the variant for a
dishonest coordinator. No Flower, no records: vectors come in, masked vectors and shares go out.
"""
