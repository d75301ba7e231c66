"""One module per command: ``add`` describes its options and imports nothing heavy, a function does the work."""
