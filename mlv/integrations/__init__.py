"""Bridges from other libraries into mlv, written against its public names: a module per library."""
