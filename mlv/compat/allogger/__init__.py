"""ALLogger's names over mlv: `import mlv.compat.allogger as allogger` is all that a script changes.

Each logdir holds, beside the files that ALLogger leaves, an experiment in a hidden folder: `.mlv-experiments/<time>_<host>`.
"""

from mlv.compat.allogger import api, utils
from mlv.compat.allogger.logger import Logger, basic_configure, close, get_logger, get_root
from mlv.compat.allogger.settings import valid_outputs

__all__ = ["Logger", "api", "basic_configure", "close", "get_logger", "get_root", "utils", "valid_outputs"]
