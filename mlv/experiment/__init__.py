"""What a training script holds in its hands: the experiment and its loggers."""
