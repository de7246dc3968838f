"""Offline runs of W&B: the frames of a `.wandb` file, its records, and what they become."""
