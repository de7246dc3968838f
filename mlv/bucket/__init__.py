"""Object stores: the log of an experiment as immutable segments, shipped while it grows and read from anywhere."""
