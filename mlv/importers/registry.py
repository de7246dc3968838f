"""The formats that `mlv import` reads, by name.

A new one is a module here with `units(listing)`, which takes the files that it knows and yields a `Unit` for each
experiment; its line in this module; a row in `docs/guide/import.md`; and a test with files that the tool itself wrote.
"""

from __future__ import annotations

from typing import NamedTuple


class Format(NamedTuple):
    """A format, and how its files are recognised."""

    module: str
    recognised: str


FORMATS = {
    "allogger": Format("mlv.importers.allogger", "tables of HDF5 in `events`, or a text log beside that, of ALLogger"),
    "mle_logging": Format("mlv.importers.mle_logging", "files of HDF5 with the groups meta, stats and time of MLELogger"),
    "helios": Format("mlv.importers.helios", "lines of a .log that is named by the date, or as a folder with event files"),
    "ray": Format("mlv.importers.ray", "result.json beside params.json, or with training_iteration, in the folders of trials"),
    "tensorboard": Format("mlv.importers.tensorboard.folders", "event files, with tfevents in their names"),
    "wandb": Format("mlv.importers.wandb.mapping", "run-ID.wandb, in folders offline-run-* and run-*"),
    "lightning": Format("mlv.importers.lightning", "metrics.csv beside hparams.yaml, or with the columns epoch and step"),
    "transformers": Format("mlv.importers.transformers", "trainer_state.json, in an output folder or its checkpoints"),
    "mlflow": Format("mlv.importers.mlflow.stores", "meta.yaml of runs in mlruns, or mlflow.db"),
    "sacred": Format("mlv.importers.sacred", "run.json beside config.json, as FileStorageObserver writes them"),
    "trackio": Format("mlv.importers.trackio", "PROJECT.db with the tables metrics and configs"),
    "dvclive": Format("mlv.importers.dvclive", "plots/metrics beside metrics.json or params.yaml"),
    "wandb-export": Format(
        "mlv.importers.wandb.exports.sources",
        "charts, histories with _step, _runtime and _timestamp, lists of runs with config and summary, wandb-summary.json",
    ),
    "dllogger": Format("mlv.importers.dllogger", "lines that begin with DLLL, or with DLL and a time"),
    "csv": Format(
        "mlv.importers.csv_files", "files .csv and .tsv that are named themselves, or all of a folder with --from csv"
    ),
    "jsonl": Format("mlv.importers.jsonl", "files .jsonl and .ndjson, as csv"),
    "parquet": Format("mlv.importers.parquet", "files .parquet and .pq, as csv"),
}
"""In the order in which they look at the files of a folder: each takes those that it knows."""
