"""Reading what was logged: log files, and models."""

from mlv.compat.mle_logging.load.load_log import load_log, load_meta_log
from mlv.compat.mle_logging.load.load_model import load_model

__all__ = ["load_log", "load_meta_log", "load_model"]
