"""One module per command: ``add`` describes its options (imports nothing heavy), a function per command does the work."""
