"""Studies on OMOP CDM databases: study cohort and features, and the SQL that they are compiled to."""
