"""A hospital's site: its configuration (site.toml), its state folder, and the checks of its records."""
