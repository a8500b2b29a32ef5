"""A synthetic table as OMOP CDM 5.4 tables or FHIR R4 resources, and back."""
