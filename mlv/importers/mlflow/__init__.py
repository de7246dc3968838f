"""Runs of MLflow: its file store and its database, and what they become."""
