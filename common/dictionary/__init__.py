"""What a hospital's data dictionary says about its columns, and how several hospitals agree on a schema. No records."""
