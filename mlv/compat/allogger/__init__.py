"""ALLogger's names over mlv: `import mlv.compat.allogger as allogger` is all that a script changes.

Each logdir holds, beside the files that ALLogger leaves, an experiment: `<logdir>/<time>_<host>/meta.json` and `log.jsonl`.
"""

from mlv.compat.allogger import api, utils
from mlv.compat.allogger.logger import Logger, basic_configure, close, get_logger, get_root
from mlv.compat.allogger.settings import valid_outputs

__all__ = ["Logger", "api", "basic_configure", "close", "get_logger", "get_root", "utils", "valid_outputs"]
