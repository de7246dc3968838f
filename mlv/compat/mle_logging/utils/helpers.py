"""Files that scripts write and read beside the logger, and learning curves."""

from __future__ import annotations

import pickle
from typing import Any

from mlv.compat.mle_logging.configs import load_config
from mlv.compat.mle_logging.hdf import import_h5py, opened
from mlv.compat.mle_logging.plotting import visualize_1D_lcurves
from mlv.compat.mle_logging.storage import write_pickle, write_whole

__all__ = ["load_config", "load_pkl_object", "save_pkl_object", "visualize_1D_lcurves", "write_to_hdf5"]


def write_to_hdf5(log_fname: str, log_path: str, data_to_log: Any, dtype: Any = "S5000") -> None:
    """Write an array or a list as one dataset of a file, in place of the one of that name.

    With the default type, texts are stored as long as they are, in UTF-8.
    """
    is_text = dtype == "S5000" and all(isinstance(item, (str, bytes)) for item in data_to_log)
    with opened(log_fname, "a") as file:
        if log_path in file:
            del file[log_path]
        kind = import_h5py().string_dtype() if is_text else None if dtype == "S5000" else dtype
        file.create_dataset(log_path, data=list(data_to_log) if is_text else data_to_log, dtype=kind)


def load_pkl_object(filename: str) -> Any:
    """Return the object in a pickle. Loading runs the code in it: load only files that you trust."""
    with open(filename, "rb") as file:
        return pickle.load(file)  # noqa: S301 - said above


def save_pkl_object(obj: Any, filename: str) -> None:
    """Write an object as a pickle, whole or not at all."""
    write_whole(filename, lambda private: write_pickle(obj, private))
