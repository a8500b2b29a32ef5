"""Fidelity, utility and the report."""
