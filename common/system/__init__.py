"""Files, folders, logs and processes of the operating system."""
