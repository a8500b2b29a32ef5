"""A hospital's table: read, checked, split by patient, conformed to the schema."""
