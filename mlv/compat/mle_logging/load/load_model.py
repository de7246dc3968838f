"""`load_model` of `checkpoints`, in the module where mle-logging has it."""

from mlv.compat.mle_logging.checkpoints import load_model

__all__ = ["load_model"]
