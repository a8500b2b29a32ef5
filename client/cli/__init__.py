"""The commands of a hospital: `fedsynth site ...`."""
