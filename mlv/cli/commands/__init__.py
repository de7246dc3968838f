"""The commands by their subjects, with their arguments and their help; each imports the module that does the work."""
