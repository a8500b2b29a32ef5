"""Who may see a report."""

HANDLING = "stays at the hospital: it holds exact facts about your patients"
"""Who may see a report. It is in every report.json, and on the page unless the hospitals were simulated."""
