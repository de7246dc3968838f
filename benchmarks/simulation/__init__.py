"""A million experiments, simulated with costs that were measured here: `python -m benchmarks.simulation`."""
