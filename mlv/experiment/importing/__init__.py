"""Experiments of other tools, written as if `mlv` had been there: the engine below all importers."""
