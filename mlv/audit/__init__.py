"""Proving experiments, merging and redacting them, and finding where a file comes from."""
