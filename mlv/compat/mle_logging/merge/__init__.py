"""Log files of several seeds or configurations as one."""

from mlv.compat.mle_logging.merge.merge_hdf5 import merge_hdf5_files
from mlv.compat.mle_logging.merge.merge_logs import merge_config_logs, merge_seed_logs

__all__ = ["merge_config_logs", "merge_hdf5_files", "merge_seed_logs"]
