"""Files that a script puts into its experiment: attachments and saved objects."""
