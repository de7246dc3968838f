"""Models as files: torch, tensorflow and keras, jax, sklearn, numpy."""

from __future__ import annotations

import os
import pickle
import tempfile
from typing import Any

from mlv.compat.mle_logging.storage import write_pickle

_HDF5 = b"\x89HDF\r\n\x1a\n"
_KERAS_3 = ".weights.h5"
"""Weights of Keras 3 have to be in files of this suffix; it stands in what it raises."""


def save_checkpoint(model: Any, path: str, model_type: str) -> None:
    """Write a model at exactly this path.

    Raises:
        ValueError: There is no such type of model.
    """
    if model_type == "torch":
        _torch().save(model.state_dict(), path)
    elif model_type == "tensorflow":
        _save_weights(model, path)
    elif model_type in ("jax", "sklearn", "numpy"):
        write_pickle(model, path)
    else:
        raise ValueError("Provide valid model_type [torch, jax, sklearn, numpy].")


def _save_weights(model: Any, path: str) -> None:
    try:
        model.save_weights(path)
    except ValueError as error:
        if _KERAS_3 not in str(error):
            raise
        model.save_weights(path + _KERAS_3)
        os.replace(path + _KERAS_3, path)


def load_model(ckpt_path: str, model_type: str, model: Any = None) -> Any:
    """Return a model from a checkpoint: torch fills `model` where there is one, else gives the state; tensorflow fills `model`.

    Files of jax, sklearn and numpy are pickles. Loading runs the code in them: load only files that you trust.

    Raises:
        ValueError: There is no such type of model.
    """
    if model_type == "torch":
        state = _torch_state(ckpt_path)
        if model is None:
            return state
        model.load_state_dict(state)
        return model
    if model_type == "tensorflow":
        _load_weights(model, ckpt_path)
        return model
    if model_type in ("jax", "sklearn"):
        with open(ckpt_path, "rb") as file:
            return pickle.load(file)  # noqa: S301 - said above
    if model_type == "numpy":
        import numpy

        return numpy.load(ckpt_path, allow_pickle=True)
    raise ValueError("Please provide a valid model type ('torch', 'jax', 'sklearn', 'numpy').")


def _torch_state(path: str) -> Any:
    torch = _torch()
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except TypeError:  # a torch that is older than this option
        return torch.load(path, map_location="cpu")


def _load_weights(model: Any, path: str) -> None:
    if not _is_hdf5(path):
        model.load_weights(path)
        return
    with tempfile.TemporaryDirectory(prefix="mlv-") as folder:
        link = os.path.join(folder, f"model{_KERAS_3}")
        os.symlink(os.path.abspath(path), link)
        model.load_weights(link)


def _is_hdf5(path: str) -> bool:
    try:
        with open(path, "rb") as file:
            return file.read(len(_HDF5)) == _HDF5
    except FileNotFoundError:  # a checkpoint of tensorflow's own: several files that begin with this name
        return False


def _torch() -> Any:
    try:
        import torch
    except ModuleNotFoundError as error:
        text = f"{error}. You need to install `torch` if you want to save a model checkpoint."
        raise ModuleNotFoundError(text) from None
    return torch
