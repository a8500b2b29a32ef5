"""Attacks on a synthetic table: what somebody who holds it learns about the patients behind it."""
