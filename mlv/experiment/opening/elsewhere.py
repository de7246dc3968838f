"""Experiments in a bucket: their mirrors to read, and a copy on this machine to go on with."""

from __future__ import annotations

from collections.abc import Iterator
from math import inf
from pathlib import Path
from time import monotonic, sleep
from typing import Any

from mlv import settings
from mlv.audit.merge import Tree, merge
from mlv.bucket.listing import listed
from mlv.bucket.mirror import Mirror, mirrored, tell
from mlv.bucket.store import open_store
from mlv.digests import sha256
from mlv.errors import CheckpointMissing, InvalidArgument, MlvWarning, NotAnExperiment, RanksNotMet
from mlv.experiment.opening.setup import translated_os_errors
from mlv.notices import warn
from mlv.query.events import Events
from mlv.retention import PORTFOLIO_TYPES, PortfolioState, Saved, fold
from mlv.store import layout
from mlv.store.paths import bucket_url, checked_path

_POLL_S = 0.1


def read_folder(url: str) -> Path:
    """Return the folder of an experiment's mirror, brought up to date.

    Raises:
        NotAnExperiment: There is none at the URL.
        InvalidArgument, MissingExtra, BucketError, ExperimentBusy, FileUnusable: As `mirrored`.
    """
    return _mirror_of_one(url).folder


def _mirror_of_one(url: str) -> Mirror:
    mirror = mirrored(url)
    if not layout.is_experiment(mirror.folder):
        raise NotAnExperiment(f"{url} is no experiment, but holds some: give the URL of one, or find({url!r})", path=url)
    return mirror


def bring(url: Any, into: Any, step: Any, rank: int) -> Path:
    """Bring an experiment with the checkpoint to go on from into a folder of this machine, and return its own folder there.

    Args:
        url: The experiment in a bucket.
        into: The folder around experiments. One that has a copy gets the lines and files that it lacks.
        step: The step to go on from; None takes the latest checkpoint.
        rank: Of this process in its launch: the main one brings the experiment, and the others wait for it.

    Raises:
        InvalidArgument: It is no URL of a bucket.
        CheckpointMissing: The checkpoint was not shipped.
        RanksNotMet: The main rank did not bring it in time.
        SavedirUnusable: Nothing can be made in the folder.
        MlvError: As `read_folder` and `merge`.
    """
    if bucket_url(url) is None:
        text = f"into={str(into)!r} is for an experiment in a bucket, and {url!r} is no URL of one"
        raise InvalidArgument(f"{text}: give one such as s3://lab/runs/long", into=into)
    around = checked_path(into, "into")
    if rank:
        return _awaited(url, around)
    mirror = _mirror_of_one(url)
    for path, saved in _wanted(mirror.folder, step):
        notices = mirror.bring_files(mirror.folder, [path])
        if notices and _is_here(mirror.folder, around, path):
            continue  # a job that is started again where it was, before the checkpoint was shipped
        if notices and (step is None or saved.step == step):
            raise CheckpointMissing(f"{notices[0]}. Give rewind_to the step of an earlier checkpoint", path=path)
        tell(notices)
    with translated_os_errors(f"experiment {mirror.folder.name!r}", around):
        around.mkdir(parents=True, exist_ok=True)
        (done,) = merge(mirror.folder, around, chosen=[mirror.folder])
    for difference in done.differences:
        warn(difference, MlvWarning)
    return done.target


def _is_here(folder: Path, around: Path, path: str) -> bool:
    """Return whether the copy of an experiment that is below a folder has a file."""
    copy = Tree(around).copy_of(folder, around / folder.name) if around.is_dir() else None
    return copy is not None and (copy / path).exists()


def _wanted(folder: Path, step: Any) -> Iterator[tuple[str, Saved]]:
    """Yield path and record of the checkpoint of each portfolio that work goes on from."""
    for name, state in fold(Events(folder, PORTFOLIO_TYPES)).items():
        saved = state.latest if step is None else _latest_until(state, step)
        if saved is not None:
            yield f"{name}/{state.sections_of(saved)[0]}/{saved.name}", saved


def _latest_until(state: PortfolioState, step: Any) -> Saved | None:
    """Return the latest checkpoint that is kept and not after a step."""
    limit = step if isinstance(step, (int, float)) else inf
    kept = (saved for saved in state if isinstance(saved.step, (int, float)) and saved.step <= limit)
    return max((saved for saved in kept if saved.name not in state.superseded), key=lambda saved: saved.save, default=None)


def _awaited(url: str, around: Path) -> Path:
    """Wait for the experiment that the main rank brings: the one of its ID, whatever its folder is called here."""
    identity = _id_of(url)
    limit_s = settings.RANKS_TIMEOUT.get()
    deadline = monotonic() + limit_s
    while True:
        folders = layout.walk(around) if around.is_dir() else ()
        if (folder := next((each for each in folders if layout.exp_id(each) == identity), None)) is not None:
            return folder
        if monotonic() > deadline:
            text = f"the main rank brought no experiment to {around} within {limit_s:g} s: give a folder that all ranks see"
            raise RanksNotMet(text, path=str(around))
        sleep(_POLL_S)


def _id_of(url: str) -> str:
    """Return the ID of the experiment at a URL.

    Raises:
        NotAnExperiment: There is none.
        InvalidArgument, MissingExtra, BucketError: As `open_store`, or the bucket cannot be read.
    """
    store = open_store(url)
    own = listed(store.objects()).experiments.get("")
    if own is None:
        raise NotAnExperiment(f"{url} is no experiment: give the URL of one", path=url)
    return sha256(store.get(own.metas[-1].key)).hexdigest()
