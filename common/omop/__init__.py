"""Studies on OMOP CDM databases: cohort and features, and the SQL that they are compiled to."""
