"""The bridge from MLflow: a tracking store for `mlflow.set_tracking_uri("mlv:runs")`, which MLflow itself finds.

Its fluent API, its client and its autologs then write experiments of mlv. The functions here are entry points of MLflow, which
imports them while it is imported itself: they import its modules when they are called.
"""

from __future__ import annotations

from typing import Any

from mlv.integrations.frameworks import framework

_LEAST, _BELOW = "3.1", "4"
"""Versions that are known to work."""


def tracking_store(store_uri: str | None = None, artifact_uri: str | None = None) -> Any:  # noqa: ARG001 - MLflow's names
    """Return the store for a tracking URI: `mlv:runs`, `mlv:/data/runs`, or `mlv:` for what `MLV_DIR` says.

    Args:
        store_uri: The URI; a relative path is taken from the current folder, once.
        artifact_uri: Passed by MLflow, and of no use here: artifacts lie in the folders of their experiments.

    Raises:
        MissingExtra: MLflow is not installed, or is too old.
    """
    framework("mlflow", least=_LEAST, below=_BELOW, install="mlflow-skinny")
    from mlv.integrations.mlflow.store import Store  # imports MLflow

    return Store(store_uri or "mlv:")


def artifact_repository(artifact_uri: str, tracking_uri: str | None = None, registry_uri: str | None = None) -> Any:
    """Return the artifacts at a URI, such as that of a run: files of an experiment.

    Raises:
        MissingExtra: MLflow is not installed, or is too old.
    """
    framework("mlflow", least=_LEAST, below=_BELOW, install="mlflow-skinny")
    from mlv.integrations.mlflow.artifacts import Artifacts  # imports MLflow

    return Artifacts(artifact_uri, tracking_uri, registry_uri)


def model_registry_store(store_uri: str | None = None, tracking_uri: str | None = None) -> Any:  # noqa: ARG001 - as above
    """Refuse to be a registry of models.

    Raises:
        MissingExtra: MLflow is not installed, or is too old.
        MlflowException: Always, with the way to a registry beside mlv.
    """
    framework("mlflow", least=_LEAST, below=_BELOW, install="mlflow-skinny")
    from mlv.integrations.mlflow.errors import absent  # imports MLflow

    raise absent("registry of models", "mlflow.set_registry_uri('sqlite:///registry.db') keeps one beside it")
