"""Helpers of wandb that scripts call."""

from mlv.compat.wandb.folders import generate_id
from mlv.compat.wandb.values import plain as json_friendly_val

__all__ = ["generate_id", "json_friendly_val"]
