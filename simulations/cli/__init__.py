"""The `fedsynth` command."""
