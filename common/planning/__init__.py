"""From a study to the plan of a run, before any record is read."""
