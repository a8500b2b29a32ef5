"""The commands of a hospital: `fedsynth site ...`, one file per command; `site.py` lists them."""
