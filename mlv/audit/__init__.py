"""Verify, merge and redact experiments, and trace files to the events that name them."""
