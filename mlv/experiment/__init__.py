"""The experiment and its loggers, the objects that a training script uses."""
