"""Checkpoints: how objects become files, and which of the files stay."""
