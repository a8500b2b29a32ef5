"""Other tools' descriptions of tables: what a dictionary is imported from, and what a study is exported to."""
