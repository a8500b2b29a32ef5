"""The study: the agreed schema, rules and settings, parsed from one TOML file."""
