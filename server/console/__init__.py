"""The coordinator's console: runs in a browser, live from their events, with the actions of the command line."""
