"""Helpers that scripts import from `mle_logging.utils`."""

from mlv.compat.mle_logging.utils.comms import print_reload, print_startup, print_storage, print_update, print_welcome
from mlv.compat.mle_logging.utils.helpers import (
    load_config,
    load_pkl_object,
    save_pkl_object,
    visualize_1D_lcurves,
    write_to_hdf5,
)

__all__ = [
    "load_config",
    "load_pkl_object",
    "print_reload",
    "print_startup",
    "print_storage",
    "print_update",
    "print_welcome",
    "save_pkl_object",
    "visualize_1D_lcurves",
    "write_to_hdf5",
]
