"""Making the folder of an experiment, or opening one again: everything that happens on the disk before the first event."""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime, timezone
from itertools import count
from pathlib import Path
from time import monotonic, sleep
from typing import Any, NamedTuple

from mlv import settings
from mlv.capture.redaction import Redactor
from mlv.encoding import utc_text
from mlv.errors import ExperimentExists, InvalidArgument, MetaEdited, MlvError, MlvWarning, OnlyRead, SavedirUnusable
from mlv.experiment import null_sessions
from mlv.experiment.null_sessions import DisabledSession, session_for, session_of_rank
from mlv.experiment.opening import params as params_
from mlv.experiment.opening.captures import (
    CAPTURES,
    capture,
    patterns_to_keep,
    redactor_of,
    refuse_credential,
    warn_of_redactions,
)
from mlv.experiment.opening.ranks import own_numbers
from mlv.experiment.session import Session, session_in_this_process
from mlv.frozen import FrozenDict, FrozenRecord, frozen
from mlv.notices import say, warn, warn_once
from mlv.projections.outputs import checked_outputs
from mlv.store import ends, layout
from mlv.store import meta as meta_
from mlv.store.blobs import remove
from mlv.store.meta import Meta
from mlv.store.mirrors import is_mirrored
from mlv.store.reading import read_state
from mlv.transport.wishes import Wishes

_META_WITHIN_S = 10.0  # its maker captures git and packages before it writes this file
_RECOVER_WITHIN_S = 10.0  # training should begin, also beside a log that cannot be finished now


class ExpComponents(FrozenRecord):
    """The components of an `Exp`."""

    folder: Path
    meta: Meta
    session: Session
    redactor: Redactor
    params: FrozenDict | None = None
    """All params with their real values, in the process that passed them."""
    edited: MetaEdited | OnlyRead | None = None
    """Why nothing may be written: meta.json is not the one that the runs recorded, or the folder is a mirror."""


def refusal(folder: Path, meta: Meta) -> MetaEdited | OnlyRead | None:
    """Return why nothing may be written into an experiment, None where it may; warn if its meta.json was edited."""
    if (edited := meta_.check_identity(folder, meta)) is not None:
        warn(str(edited), MlvWarning)
        return edited
    if not is_mirrored(folder):
        return None
    advice = "Exp.open(URL, into=FOLDER) goes on with it on this machine"
    return OnlyRead(f"{folder} mirrors an experiment in a bucket, into which nothing is logged: {advice}", path=str(folder))


class Differences(NamedTuple):
    """Arguments of a rank that differ from those of the main one, in words."""

    decisive: Sequence[str]
    """Differences that make it another experiment."""
    minor: Sequence[str]
    """Differences that are merely not stored."""


class Making:
    """An experiment that is to be made: everything is checked before anything is on the disk."""

    def __init__(
        self,
        params: Any,
        kind: str | None,
        tags: Iterable[str],
        notes: str | None,
        captures: Sequence[str],
        redactor: Redactor,
        outputs: Iterable[Any] = (),
        *,
        system: float | None = None,
        console: bool = False,
        strict: bool = False,
        ship: str | bool | None = None,
    ) -> None:
        """Check and convert the arguments of the user.

        Raises:
            InvalidParams, InvalidArgument, InvalidPattern, MissingExtra: As `Exp`.
        """
        self._plain, self._nonfinite = params_.plain_params(params, strict=strict)
        self._real = params_.restored_params(self._plain, self._nonfinite)
        if kind is not None:
            refuse_credential(redactor, kind, "kind")
        configured = checked_tags(settings.TAGS.get(), redactor)
        self._tags = list(dict.fromkeys([*checked_tags(tags, redactor), *configured]))
        self._kind, self._notes = kind, _checked_notes(notes, redactor)
        self._captures, self._redactor = captures, redactor
        self._outputs, self._ship = checked_outputs(outputs), checked_ship(ship)
        self._wishes, self._console = wishes_of(system, redactor), console

    def make(self, folder: Path, parent: Mapping[str, Any] | None = None) -> ExpComponents:
        """Write meta.json into a new folder, begin the run, and say the path on stderr."""
        if settings.DISABLED.get():
            return self._make_disabled(folder, parent)
        try:
            meta = meta_.write_meta(folder, self._content(folder, parent))
        except BaseException:
            if not layout.is_experiment(folder):
                remove(folder)  # it was made for this, and holds nothing that could be read
            raise
        session = Session(folder, meta.id, outputs=self._outputs, wishes=self._wishes, ship=self._ship)
        self._begin(session)
        self._report(folder)
        return ExpComponents(folder, meta, session, self._redactor, frozen(self._real))

    def _make_disabled(self, folder: Path, parent: Mapping[str, Any] | None) -> ExpComponents:
        """Make an experiment of which nothing is stored; nothing is captured, either."""
        self._captures = ()
        text = meta_.meta_text(self._content(folder, parent))
        meta = meta_.meta_of(text)
        session = DisabledSession(folder, meta.id, text)
        if folder.exists():  # a sub-experiment, which its parent shall find
            session.prepare()
        session.start()
        self._redactor.redactions.clear()
        self._report(folder)
        return ExpComponents(folder, meta, session, self._redactor, frozen(self._real))

    def open(self, folder: Path, may_change: Collection[str]) -> ExpComponents:
        """Begin another run in an experiment that is there, and say the path on stderr.

        Raises:
            NotAnExperiment: There is none, nor does one appear soon.
            MetaEdited: meta.json is not the one that the runs recorded.
            ParamsConflict: A param differs that may not.
        """
        meta = _awaited_meta(folder)
        recover_if_needed(folder)
        edited = meta_.check_identity(folder, meta)
        if edited is not None:
            raise edited
        self._adopt(meta)
        recorded = {**meta.content["params"], **read_state(folder).params}
        requested = self._redactor.params(self._real)
        differing = params_.check_changes(recorded, requested, may_change, folder.name)
        captures = later_captures(folder, self._captures, self._redactor)
        options = {"outputs": self._outputs, "wishes": self._wishes, "ship": self._ship}
        session = session_for(folder, meta.id, captures=captures, params=differing, **options)
        self._begin(session)
        new = params_.added(recorded, requested)
        if new:
            session.emit("params", new)
        self._report(folder)
        return ExpComponents(folder, meta, session, self._redactor, frozen({**recorded, **self._real}))

    def differences(self, folder: Path, may_change: Collection[str] = (), *, is_opened: bool = False) -> Differences:
        """Return this rank's differences from the main one, which made the experiment, or opened it and may add params."""
        content = _awaited_meta(folder).content
        recorded = {**content["params"], **read_state(folder).params}
        requested = self._redactor.params(self._real)
        requested = {
            key: value for key, value in requested.items() if key not in may_change and (key in recorded or not is_opened)
        }
        decisive = params_.rank_differences(recorded, requested, own_numbers(os.environ))
        if self._kind is not None and self._kind != content.get("kind"):
            decisive.append(f"kind = {self._kind!r}, not {content.get('kind')!r}")
        minor = [f"tag {tag!r}" for tag in self._tags if tag not in (content.get("tags") or ())]
        if self._notes is not None and self._notes != content.get("notes"):
            minor.append(f"notes = {self._notes!r:.60}")
        return Differences(decisive, minor)

    def join(self, folder: Path, ranks: str, rank: int, main_run: str | None) -> ExpComponents:
        """Join an experiment of the main rank as a rank above 0; with `ranks="all"` a run of its own begins."""
        meta = _awaited_meta(folder)
        self._adopt(meta)
        own_session = session_in_this_process(folder, meta.id)
        options: dict[str, Any] = {"wishes": self._wishes, "ship": self._ship}
        session = own_session.twin() if own_session else session_of_rank(folder, meta.id, rank, ranks, main_run, **options)
        session.start()
        return ExpComponents(folder, meta, session, self._redactor, frozen({**meta.content["params"], **self._real}))

    def _adopt(self, meta: Meta) -> None:
        """Redact as the runs before."""
        self._redactor = redactor_of(meta.content, self._redactor.patterns, self._redactor.exceptions)
        self._wishes = self._wishes.replace(redact=self._redactor.patterns, keep=self._redactor.exceptions)

    def _begin(self, session: Session) -> None:
        session.start()
        if self._console and not session.is_disabled:
            session.capture_console()

    def _content(self, folder: Path, parent: Mapping[str, Any] | None) -> dict[str, Any]:
        captured = capture(self._captures, self._redactor, folder, "git.diff")
        content: dict[str, Any] = {
            "format": meta_.FORMAT,
            "name": folder.name,
            "kind": self._kind,
            "created": utc_text(datetime.now(timezone.utc)),
            "params": self._redactor.params(self._plain),
            "parent": parent,
            "tags": self._tags,
            "notes": self._notes,
            **patterns_to_keep(self._redactor),
            **{name: captured.get(name) for name in CAPTURES},
        }
        if self._nonfinite:
            content["nonfinite"] = {f"/params{pointer}": text for pointer, text in self._nonfinite.items()}
        return content

    def _report(self, folder: Path) -> None:
        warn_of_redactions(self._redactor)
        settings.warn_of_problems()
        off = settings.DISABLED.look_up()
        say(f"mlv: nothing of {folder.name} is stored: disabled by {off.source}" if off.value else f"mlv: {folder}")


def configured(savedir: Any, on_exists: str) -> tuple[Any, str | None, str]:
    """Return the savedir, the name and the `on_exists` of an experiment that was given no name, as the settings have them."""
    exp = settings.EXP.get()
    return (savedir, settings.NAME.get(), on_exists) if exp is None else (exp.parent, exp.name, "open")


def make_or_open(making: Making, folder: Path, on_exists: str, may_change: Collection[str]) -> ExpComponents:
    """Make an experiment, by `on_exists` in a folder of another name; or with `open` open exactly this one, if it is there."""
    if on_exists == "open" and is_taken(folder):
        return making.open(folder, may_change)
    try:
        return making.make(make_folder(folder.parent, folder.name, suffix=on_exists == "suffix"))
    except ExperimentExists:
        if on_exists != "open":
            raise
        return making.open(folder, may_change)  # somebody else made it just now


def wishes_of(system: float | None, redactor: Redactor) -> Wishes:
    """Return the wishes for the writer: samples of the machine every `system` seconds, or as the settings say if it is None.

    Raises:
        InvalidArgument: It is no number of seconds.
    """
    try:
        interval_s = settings.SYSTEM.get() if system is None else settings.interval(system)
    except ValueError as error:
        if isinstance(error, InvalidArgument):
            raise
        raise InvalidArgument(f"system={system!r} {error}", system=system) from None
    return Wishes(interval_s, redactor.patterns, redactor.exceptions)


def checked_ship(ship: str | bool | None) -> str | None:
    """Return the URL of the bucket that runs are shipped to, None for none.

    Raises:
        InvalidArgument: It is no URL of a bucket.
        MissingExtra: `obstore` is not installed.
    """
    if ship is False or (ship is None and settings.SHIP.look_up().value is None and settings.SHIP.get() is None):
        return None
    from mlv.bucket import wish  # `import mlv` does without

    return wish.checked_ship(ship)


def ship_of_later_run(ship: str | bool | None) -> str | None:
    """Return what `checked_ship` does; a setting that cannot be used is warned about, as the experiment may only be read.

    Raises:
        InvalidArgument, MissingExtra: As `checked_ship`, for an argument.
    """
    if ship is not None:
        return checked_ship(ship)
    try:
        return checked_ship(None)
    except MlvError as error:
        warn_once(f"{error}. Runs are not shipped", MlvWarning)
        return None


def recover_if_needed(folder: Path) -> None:
    """Write the pending events of killed processes, if there are any, unless mlv is disabled."""
    if settings.DISABLED.look_up().value:
        return
    from mlv.transport import recovery  # with all of the writer: `import mlv` does without

    if recovery.needs_recovery(folder):
        recovery.recover(folder, _RECOVER_WITHIN_S)


def later_captures(folder: Path, names: Collection[str], redactor: Redactor) -> Callable[[], Mapping[str, Any]]:
    """Return a function that a later run calls when it begins: for its captures, and the ends of streams before it."""

    def make() -> Mapping[str, Any]:
        moment = utc_text(datetime.now(timezone.utc)).replace(":", "")
        captured = capture(names, redactor, folder, f"git-{moment}.diff")
        warn_of_redactions(redactor)
        return {**captured, "after": ends.ends_of(folder)}

    return make


def checked_tags(tags: Iterable[str], redactor: Redactor) -> list[str]:
    """Accept tags; redact what looks like a credential.

    Raises:
        InvalidArgument: They are one text, or one of them is none.
    """
    if isinstance(tags, str):
        raise InvalidArgument(f"tags={tags!r} is one text: give a list, [{tags!r}]", tags=tags)
    if not isinstance(tags, Iterable):
        raise InvalidArgument(f"tags={tags!r} is of type {type(tags).__name__}: give a list of words", tags=tags)
    tag_list = list(tags)
    wrong = [tag for tag in tag_list if not isinstance(tag, str) or not tag]
    if wrong:
        raise InvalidArgument(f"tag {wrong[0]!r} is no text, or empty: give words", tags=tag_list)
    return list(dict.fromkeys(redactor.text(tag, "tags") for tag in tag_list))


def _checked_notes(notes: object, redactor: Redactor) -> str | None:
    if notes is None or isinstance(notes, str):
        return notes if notes is None else redactor.text(notes, "notes")
    raise InvalidArgument(f"notes={notes!r:.100} is of type {type(notes).__name__}: give a text", notes=notes)


def _awaited_meta(folder: Path) -> Meta:
    """Wait for the meta.json of a folder that another process may be making at this moment, and read it."""
    deadline = monotonic() + _META_WITHIN_S
    while not layout.is_experiment(folder) and folder.is_dir() and monotonic() < deadline:
        sleep(0.01)
    return meta_.read_meta(folder)


def timestamp_name(now: datetime) -> str:
    """Return the name of an experiment without one: local time, without colons, so that names sort by time."""
    return now.strftime("%Y-%m-%d_%H-%M-%S")


def make_folder(savedir: Path, name: str, suffix: bool) -> Path:
    """Make `<savedir>/<name>`; where that is taken and `suffix` is true, `<name>_1`, `<name>_2` and so on.

    The folder is made by `mkdir`, which succeeds for one process only: no two get the same one. Where nothing is to be stored,
    it is one that is made when somebody looks into it.

    Raises:
        ExperimentExists: The name is taken, and no suffix wanted.
        SavedirUnusable: The savedir is a file, or nothing can be made in it.
    """
    if _is_disabled_in(savedir):
        return null_sessions.temporary_folder(name)
    _make_savedir(savedir)
    for number in count():
        folder = savedir / (name if number == 0 else f"{name}_{number}")
        try:
            # The one test of whether the name is free that two processes cannot both pass.
            folder.mkdir()
            return folder
        except FileExistsError:
            if not suffix:
                raise ExperimentExists(
                    f"{folder} exists: choose another name, or on_exists='suffix' or 'open'", path=str(folder)
                ) from None
        except OSError as error:
            raise _unusable(savedir, error) from error
    raise AssertionError("count() does not end")


def numbered_folder(parent: Path, prefix: str) -> Path:
    """Make `<prefix>_1`, or the next number that is free; or as `make_folder`, where nothing is to be stored.

    Raises:
        SavedirUnusable: Nothing can be made there.
    """
    if _is_disabled_in(parent):
        return null_sessions.temporary_folder(f"{prefix}_1")
    _make_savedir(parent)
    suffixes = [name[len(prefix) + 1 :] for name in os.listdir(parent) if name.startswith(prefix + "_")]
    first = max((int(number) for number in suffixes if number.isdecimal()), default=0) + 1
    for number in count(first):
        try:
            (parent / f"{prefix}_{number}").mkdir()
            return parent / f"{prefix}_{number}"
        except FileExistsError:  # somebody was faster
            continue
        except OSError as error:
            raise _unusable(parent, error) from error
    raise AssertionError("count() does not end")


@contextmanager
def translated_os_errors(subject: str, path: Path) -> Iterator[None]:
    """Translate errors of the system while an experiment is made or opened.

    Raises:
        SavedirUnusable: The system refuses something.
    """
    try:
        yield
    except MlvError:
        raise
    except OSError as error:
        where = f" ({error.filename})" if error.filename else ""
        text = f"{subject} cannot be made or opened in {str(path)!r}: {error.strerror or error}{where}"
        raise SavedirUnusable(
            f"{text}. Make room, or give a folder that you may write to", path=str(path), errno=error.errno
        ) from error


def _is_disabled_in(savedir: Path) -> bool:
    return settings.DISABLED.get() and not null_sessions.holds(savedir)


def is_taken(folder: Path) -> bool:
    """Return whether something of that name is there."""
    return os.path.lexists(folder)


def _make_savedir(savedir: Path) -> None:
    try:
        savedir.mkdir(parents=True, exist_ok=True)
    except FileExistsError as error:
        raise SavedirUnusable(f"savedir {str(savedir)!r} is a file: give a folder", path=str(savedir)) from error
    except (OSError, ValueError) as error:
        raise _unusable(savedir, error) from error


def _unusable(savedir: Path, error: Exception) -> SavedirUnusable:
    reason = getattr(error, "strerror", None) or str(error)
    return SavedirUnusable(
        f"nothing can be made in savedir {str(savedir)!r}: {reason}. Give a folder that you may write to", path=str(savedir)
    )
