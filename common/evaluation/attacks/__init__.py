"""Attacks on a synthetic table: what an attacker who has it learns about the training patients."""
