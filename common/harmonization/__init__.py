"""Harmonization: a hospital's own table to the columns of a study, by a mapping that stays at the hospital."""
