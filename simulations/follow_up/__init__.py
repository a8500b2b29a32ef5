"""Invented diabetics: the visits of the built-in study `follow-up`. No row describes a person."""
