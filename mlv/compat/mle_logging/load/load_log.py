"""Reading what was logged: log files, and those of several seeds or configurations."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

from mlv.compat.mle_logging.dotmap import DotMap
from mlv.compat.mle_logging.experiments import bring_up_to_date
from mlv.compat.mle_logging.merge.aggregate import aggregate_over_seeds
from mlv.compat.mle_logging.meta_log import MetaLog
from mlv.compat.mle_logging.reading import is_run, log_files, read_runs

NO_SEED = "no_seed_provided"


def load_log(experiment_dir: str, aggregate_seeds: bool = False, reload_log: bool = False) -> Any:
    """Return the logs in a folder, or in one `.hdf5` file, as a MetaLog with an entry for each seed.

    For a run without a seed it returns the entry itself: `.meta`, `.stats`, `.time`. With `aggregate_seeds`, `.eval` holds
    statistics over the seeds. Loggers of this process are flushed first. Where the folder has several files, the result has
    all their seeds; a seed that is in several of them is read from its own file.

    Raises:
        FileNotFoundError: Nothing was logged there.
        FileUnusable: A file is damaged.
    """
    experiment_dir = os.fspath(experiment_dir)
    if experiment_dir.endswith(".hdf5"):
        return load_meta_log(experiment_dir, aggregate_seeds, reload_log)
    bring_up_to_date(experiment_dir)
    runs: dict[str, Any] = {}
    for path in log_files(experiment_dir):
        runs.update(read_runs(path))
    return _as_log(dict(sorted(runs.items())), aggregate_seeds, reload_log)


def load_meta_log(log_fname: str, aggregate_seeds: bool = True, reload_log: bool = False) -> Any:
    """Return the logs in one file: seeds, or configurations with their seeds, which `aggregate_seeds` makes one entry of.

    Raises:
        AssertionError: There is no such file.
        FileUnusable: It is damaged.
    """
    assert os.path.exists(log_fname), f"File {log_fname} does not exist."
    folder, room = os.path.split(os.path.dirname(os.path.abspath(log_fname)))
    if room == "logs":
        bring_up_to_date(folder)
    return _as_log(read_runs(log_fname), aggregate_seeds, reload_log)


def _as_log(runs: Mapping[str, Any], aggregate_seeds: bool, reload_log: bool) -> Any:
    seeds = {name: run for name, run in runs.items() if is_run(run)}
    if list(runs) == [NO_SEED] and seeds:
        log = MetaLog(DotMap(seeds))
        return log if reload_log else log[NO_SEED]
    if aggregate_seeds:
        several = {name: aggregate_over_seeds(run) for name, run in runs.items() if name not in seeds and run}
        return MetaLog(DotMap({**({"eval": aggregate_over_seeds(seeds)} if seeds else {}), **several}))
    return MetaLog(DotMap(runs))
