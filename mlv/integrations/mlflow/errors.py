"""Errors of MLflow, which its callers expect, of errors of mlv."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from mlflow.exceptions import MlflowException
from mlflow.protos.databricks_pb2 import (
    INVALID_PARAMETER_VALUE,
    INVALID_STATE,
    NOT_IMPLEMENTED,
    RESOURCE_ALREADY_EXISTS,
    RESOURCE_DOES_NOT_EXIST,
)

from mlv import MlvError
from mlv.errors import ExperimentBusy


@contextmanager
def translated() -> Iterator[None]:
    """Raise what mlv raises in the block as MLflow's exception, with the same text."""
    try:
        yield
    except ExperimentBusy as error:
        raise MlflowException(str(error), INVALID_STATE) from error
    except MlvError as error:
        raise MlflowException(str(error), INVALID_PARAMETER_VALUE) from error


def missing(text: str) -> MlflowException:
    """Make the error for what does not exist."""
    return MlflowException(text, RESOURCE_DOES_NOT_EXIST)


def refused(text: str) -> MlflowException:
    """Make the error for an argument that cannot be used."""
    return MlflowException(text, INVALID_PARAMETER_VALUE)


def taken(text: str) -> MlflowException:
    """Make the error for a name that something has."""
    return MlflowException(text, RESOURCE_ALREADY_EXISTS)


def absent(subject: str, advice: str) -> MlflowException:
    """Make the error for what MLflow has and mlv has not."""
    return MlflowException(f"mlv keeps no {subject}: {advice}", NOT_IMPLEMENTED)
