"""The checkpoint portfolio as a script uses it: a policy, saving, and finding the best, the latest, and all that is kept."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from mlv.encoding import Conversion, restored, shown, step_number
from mlv.errors import CheckpointMissing, FileUnusable, InvalidArgument, InvalidName, MlvWarning
from mlv.experiment.checkpoints.checkpoint import Checkpoint, checkpoint_of
from mlv.experiment.checkpoints.savers import saver_of
from mlv.experiment.checkpoints.shelf import DEFAULT_FOLDER, Shelf, shelf_of, shelves_of
from mlv.experiment.opening.captures import refuse_credential
from mlv.experiment.session import Session
from mlv.notices import warn_once
from mlv.retention import Policy, Saved, checked_policy
from mlv.store import attached, layout
from mlv.store.mirrors import is_mirrored
from mlv.store.paths import checked_inside


def portfolio_of(
    session: Session, folder: str, options: Mapping[str, Any], modes: Callable[[], Mapping[str, Mapping[str, Any]]]
) -> Portfolio:
    """Return the portfolio in a folder of an experiment, under a policy of the options, or the earlier policy if all are None.

    `modes` returns the descriptions of metrics, by name.

    Raises:
        InvalidArgument, InvalidName: As `Exp.checkpoints`.
    """
    name = _checked_folder(session.folder, folder)
    refuse_credential(session.wishes.redactor(), name, "folder")
    policy = None
    if any(value is not None for value in options.values()):
        metric, mode = options["metric"], options["mode"]
        if isinstance(metric, str) and mode is None:
            mode = modes().get(metric, {}).get("mode")
        policy = checked_policy(**{**options, "mode": mode})
    if session.is_silent:
        return Portfolio(session, name)
    with shelf_of(session, name) as shelf:
        shelf.set_policy(session, policy or shelf.policy)
    return Portfolio(session, name)


def best_of(session: Session) -> Checkpoint:
    """Return the best checkpoint of the experiment.

    Raises:
        CheckpointMissing: There is none, or it was not shipped; the text says why.
    """
    return _brought(session, _best(_only_shelf(session)))


def latest_of(session: Session) -> Checkpoint:
    """Return the latest checkpoint of the experiment.

    Raises:
        CheckpointMissing: There is none, or it was not shipped; the text says why.
    """
    return _brought(session, _latest(_only_shelf(session)))


def _brought(session: Session, checkpoint: Checkpoint) -> Checkpoint:
    """Bring the file of a checkpoint in a bucket: whoever asks for it will open its path."""
    if is_mirrored(session.folder):
        try:
            attached.checked(session.folder, checkpoint.reference["path"])
        except FileUnusable as error:
            raise CheckpointMissing(f"save {checkpoint.save} cannot be had: {error}", path=str(checkpoint.path)) from None
    return checkpoint


def _only_shelf(session: Session) -> Shelf:
    shelves = shelves_of(session)
    if DEFAULT_FOLDER in shelves or len(shelves) == 1:
        return shelves.get(DEFAULT_FOLDER) or next(iter(shelves.values()))
    if not shelves:
        raise CheckpointMissing(f"{session.folder} has no checkpoints: exp.checkpoints(...).save(what, step=...) saves one")
    names = ", ".join(map(repr, sorted(shelves)))
    text = f"{session.folder} has portfolios in {names}: say which, as in exp.checkpoints(folder=...).latest"
    raise CheckpointMissing(text)


class Portfolio:
    """The checkpoints that a policy keeps in one folder of an experiment.

    Each is stored once: its names in `latest`, `every_k` and `top_k` are links to one file, where the file system has links.
    Threads may save at the same time, one after the other. A forked child goes on, in a run of its own, from what was kept at
    the fork; two runs that go on side by side do not let go what the other one has saved since.
    """

    __slots__ = ("_folder", "_session")

    def __init__(self, session: Session, folder: str) -> None:
        """Keep the session and the folder. Not called by users: `exp.checkpoints(...)` gives portfolios."""
        self._session, self._folder = session, folder

    def save(
        self, what: Any, *, step: float | None = None, metrics: Mapping[str, Any] | None = None, suffix: str = ""
    ) -> Checkpoint | None:
        """Save a checkpoint where the policy keeps it, and remove what it keeps no longer: events of type `checkpoint`.

        When the call returns, the file is on the disk whole, and so is the line that knows it. What is killed, or fails, in the
        middle leaves the checkpoints before as they were.

        Args:
            what: A module of torch (its state dict is saved) or mappings and lists of tensors, trees of arrays of numpy or
                JAX, an estimator of scikit-learn, a model of Keras; or a function that writes one file or folder to the
                path that it is given.
            step: When it was.
            metrics: Numbers, as in `log(...)`, among them the one that the policy ranks by.
            suffix: Of the path that a function gets, such as `.pt`; a library that adds one of its own may do so.

        Returns:
            The checkpoint, or None if the policy keeps it nowhere: then only the log knows of it. None on a rank that does not
            write: there nothing is saved, and a function is not called.

        Raises:
            CheckpointNotSaved: It could not be written.
            InvalidArgument: Nobody knows how to save it, or a metric has no JSON form.
            InvalidStep: The step is not a number.
        """
        if self._session.is_silent:
            return None
        # Before the shelf is taken: a value that nobody can save makes no other thread wait.
        saver = saver_of(what, suffix)
        number, numbers = step_number(step), _checked_metrics(metrics)
        with shelf_of(self._session, self._folder) as shelf:
            _warn_if_unranked(shelf.policy, numbers)
            saved = shelf.save(self._session, saver, number, numbers)
            return None if saved is None else _checkpoint(shelf, saved)

    @property
    def policy(self) -> Policy:
        """The policy in force."""
        return shelf_of(self._session, self._folder).policy

    @property
    def kept(self) -> list[Checkpoint]:
        """Every checkpoint that is kept, in the order in which they were saved."""
        with shelf_of(self._session, self._folder) as shelf:
            return [_checkpoint(shelf, saved) for saved in shelf.state]

    @property
    def best(self) -> Checkpoint:
        """The best one that is kept.

        Raises:
            CheckpointMissing: There is none; the text says why.
        """
        return _best(shelf_of(self._session, self._folder))

    @property
    def latest(self) -> Checkpoint:
        """The latest one that is kept.

        Raises:
            CheckpointMissing: There is none; the text says why.
        """
        return _latest(shelf_of(self._session, self._folder))

    def __repr__(self) -> str:
        return f"<Portfolio {self._session.folder.name}/{self._folder}: {self.policy}>"


def _best(shelf: Shelf) -> Checkpoint:
    with shelf:
        saved, policy = shelf.state.best, shelf.policy
        if saved is None:
            raise CheckpointMissing(_none_is_kept(shelf) or _none_is_best(policy, shelf))
        return _checkpoint(shelf, saved)


def _latest(shelf: Shelf) -> Checkpoint:
    with shelf:
        saved = shelf.state.latest
        if saved is None:
            raise CheckpointMissing(_none_is_kept(shelf))
        return _checkpoint(shelf, saved)


def _none_is_kept(shelf: Shelf) -> str:
    """Return the reason why there is none at all; empty if there is one."""
    saves, where = shelf.state.saves, f"{shelf.name!r} of {shelf.exp_folder}"
    if not saves:
        return f"there are no checkpoints in {where} yet: .save(what, step=...) saves one"
    return f"none of the {saves} checkpoints in {where} is kept: its policy is {shelf.policy}" if not shelf.state.latest else ""


def _none_is_best(policy: Policy, shelf: Shelf) -> str:
    where = f"{shelf.name!r} of {shelf.exp_folder}"
    if policy.top is None:
        example = "exp.checkpoints(top=1, metric='test_loss', mode='min')"
        return f"no checkpoint in {where} is the best: its policy ranks by no metric. Say it before saving: {example}"
    if shelf.state.superseded:
        return f"no checkpoint in {where} is the best: those that were are superseded by a rewind; the next save decides anew"
    return f"no checkpoint in {where} is the best: none that is kept as such has a number as {policy.metric!r}"


def _checkpoint(shelf: Shelf, saved: Saved) -> Checkpoint:
    return checkpoint_of(shelf.exp_folder, shelf.name, shelf.state, saved)


def _checked_folder(exp_folder: Path, name: Any) -> str:
    """Accept the name of a portfolio's folder.

    Raises:
        InvalidName: It is reserved or no name, is that of a log, or leads out of the experiment.
    """
    if name != DEFAULT_FOLDER:
        layout.check_label(name, "portfolio folder")
    if layout.stream_of(name) is not None or (exp_folder / name).is_file():
        raise InvalidName(f"portfolio folder {name!r} is the name of a log or of a file: choose another", name=name)
    for section in layout.SECTIONS:
        checked_inside(exp_folder, f"{name}/{section}/x")
    return str(name)


def _checked_metrics(metrics: Any) -> dict[str, Any]:
    """Return the metrics as flat names and Python numbers.

    Raises:
        InvalidArgument: They are no mapping, or hold what has no JSON form.
    """
    if metrics is None:
        return {}
    if not isinstance(metrics, Mapping):
        raise InvalidArgument(
            f"metrics={shown(metrics)} is no mapping: give names and numbers, {{'loss': 0.3}}", metrics=metrics
        )
    conversion = Conversion()
    flat = conversion.metrics(metrics)
    if conversion.problems:
        raise InvalidArgument(f"metric {conversion.problems[0][0]} {conversion.problems[0][1]}", metrics=metrics)
    numbers: dict[str, Any] = restored(flat, conversion.nonfinite)
    return numbers


def _warn_if_unranked(policy: Policy, metrics: Mapping[str, Any]) -> None:
    if policy.metric is not None and not isinstance(metrics.get(policy.metric), (int, float)):
        metrics_text = ", ".join(f"{name}={shown(value)}" for name, value in metrics.items()) or "none"
        warn_once(
            f"a checkpoint is saved without a number as {policy.metric!r}, by which the policy ranks: it is never among the "
            f"best. Its metrics: {metrics_text}",
            MlvWarning,
        )
