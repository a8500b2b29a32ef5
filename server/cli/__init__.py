"""The commands of a coordinator: `fedsynth coordinator ...`."""
