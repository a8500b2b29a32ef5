"""Longitudinal fidelity: do synthetic patients change from visit to visit as real ones do?"""
