"""Experiments as views for SQL, and as files for other tools."""
