"""In place of `mle_logging`: `from mlv.compat.mle_logging import MLELogger, load_log`."""

from mlv.compat.mle_logging.configs import load_config
from mlv.compat.mle_logging.load import load_log, load_meta_log, load_model
from mlv.compat.mle_logging.merge import merge_config_logs, merge_seed_logs
from mlv.compat.mle_logging.meta_log import MetaLog
from mlv.compat.mle_logging.mle_logger import MLELogger

__version__ = "0.0.6"
"""The version of mle-logging whose interface this is."""

__all__ = [
    "MLELogger",
    "MetaLog",
    "__version__",
    "load_config",
    "load_log",
    "load_meta_log",
    "load_model",
    "merge_config_logs",
    "merge_seed_logs",
]
