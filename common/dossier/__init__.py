"""The dossier of a run: what reviewers ask for, from the run's own files, with boxes for what people must answer."""
