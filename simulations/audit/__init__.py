"""Attacks on the shipped mechanisms: what each of them proves about epsilon, next to what is claimed."""
