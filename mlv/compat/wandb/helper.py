"""`wandb.helper`: a config in plain form."""

from mlv.compat.wandb.config import parse_config

__all__ = ["parse_config"]
