"""The commands of a coordinator: `fedsynth coordinator ...`; `coordinator.py` lists them."""
