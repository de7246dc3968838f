"""The experiment: an immutable folder-and-identity, through which a script logs and reads."""

from __future__ import annotations

import os
import sys
import weakref
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime, timezone
from pathlib import Path
from time import monotonic, sleep
from types import TracebackType
from typing import Any

from mlv.capture.redaction import Redactor
from mlv.encoding import utc_text
from mlv.errors import InvalidArgument, MetaEdited, MlvWarning, NotAnExperiment, ParamsConflict
from mlv.events import STATUSES, Record, RunPaused, RunResumed
from mlv.experiment import captures, creation, identity, params as params_
from mlv.experiment.captures import CAPTURES, capture, check_captures, make_redactor, tell_redacted
from mlv.experiment.identity import Meta
from mlv.experiment.logger import Logger
from mlv.experiment.session import Session, status_of
from mlv.frozen import FrozenDict, frozen
from mlv.notices import warn
from mlv.query.one import Events, RunView, latest_status, views
from mlv.state import State
from mlv.store import layout
from mlv.store.reading import read_state
from mlv.transport import recovery

_READ_OWN_WRITES_S = 10.0
_META_WITHIN_S = 10.0
_ENDINGS = tuple(status for status in STATUSES if status not in ("running", "lost"))


class Exp:
    """An experiment: a folder whose `meta.json` never changes, and logs that are only ever appended to.

    `Exp(savedir, name, params)` makes `<savedir>/<name>` with its `meta.json` and begins a run that writes `log.jsonl`.
    The run ends with `close()`, with the `with` block, with the last reference to the experiment and its loggers, or with
    the process: `ok`, or `failed` after an uncaught exception.

    The object does not change; params and meta are read-only all the way down. It can be used from threads, and travels to
    forked and spawned children, whose events are those of a run of their own.
    """

    __slots__ = ("__weakref__", "_edited", "_folder", "_log", "_meta", "_params", "_redaction", "_session")

    def __init__(
        self,
        savedir: str | os.PathLike[str],
        name: str | None = None,
        params: Any = None,
        *,
        kind: str | None = None,
        tags: Iterable[str] = (),
        notes: str | None = None,
        on_exists: str = "suffix",
        may_change: Collection[str] = (),
        capture: Collection[str] = CAPTURES,
        redact: Iterable[str] = (),
        keep: Iterable[str] = (),
    ) -> None:
        """Make an experiment, and begin a run in it. The path is said once, on stderr.

        Args:
            savedir: Folder for experiments, made if it is missing.
            name: One name without separators; None takes the local time.
            params: A mapping, `argparse.Namespace`, dataclass, attrs, pydantic or OmegaConf object.
            kind: What sort of experiment it is, such as `squeeze`.
            tags: Words to find it by.
            notes: A text for people.
            on_exists: What happens if the name is taken: `suffix` takes `<name>_1`, `<name>_2` ..., `open` opens exactly it
                for another run (new params are added; one that differs raises), `error` raises.
            may_change: With `open`, keys of params that may differ: their values are kept in the run's `run_started`.
            capture: What to record about the process, of `script`, `git`, `env` and `machine`.
            redact: Regular expressions over names and values that are credentials as well.
            keep: Regular expressions over names that are none, whatever they look like.

        Raises:
            InvalidName: The name or kind cannot be used.
            InvalidParams: The params are not mapping-like, or hold a value without a JSON form.
            InvalidArgument: An option has an unknown value.
            SavedirUnusable: Nothing can be made in savedir.
            ExperimentExists: The name is taken, with `on_exists="error"`.
            ParamsConflict: A param differs from the one the experiment was made with, with `on_exists="open"`.
            MetaEdited: `meta.json` was edited since, with `on_exists="open"`.
        """
        if on_exists not in ("suffix", "open", "error"):
            raise InvalidArgument(f"on_exists={on_exists!r}: give 'suffix', 'open' or 'error'", on_exists=on_exists)
        if name is not None:
            layout.check_name(name, "experiment name")
        elif on_exists == "open":
            raise InvalidArgument("on_exists='open' needs a name: say which experiment to open", on_exists=on_exists)
        if kind is not None:
            layout.check_label(kind, "kind")
        made = _Making(params, kind, tags, notes, check_captures(capture), make_redactor(redact, keep))
        folder = Path(os.path.abspath(_path(savedir, "savedir"))) / (name or creation.timestamp_name(datetime.now()))
        if on_exists == "open" and creation.is_taken(folder):
            _open_again(self, folder, made, may_change)
        else:
            try:
                made.into(self, creation.make_folder(folder.parent, folder.name, suffix=on_exists == "suffix"))
            except creation.ExperimentExists:
                if on_exists != "open":
                    raise
                _open_again(self, folder, made, may_change)  # somebody else made it just now

    @classmethod
    def open(cls, path: str | os.PathLike[str]) -> Exp:
        """The experiment in a folder again: to read, or to log into as another run, which begins with its first event.

        What killed processes left waiting is written first.

        Raises:
            NotAnExperiment: The folder holds none.
        """
        folder = Path(os.path.abspath(_path(path, "path")))
        meta = identity.read_meta(folder)
        if recovery.needs_recovery(folder):
            recovery.recover(folder, _READ_OWN_WRITES_S)
        edited = identity.check_identity(folder, meta)
        if edited is not None:
            warn(str(edited), MlvWarning)
        session = _session_in_this_process(folder, meta.id)
        exp = cls.__new__(cls)
        if session is None:
            redactor = make_redactor((), ())
            session = _session(folder, meta.id, captures=_later_captures(CAPTURES, redactor, folder))
        _fill(exp, folder, meta, session, None, make_redactor((), ()), edited)
        return exp

    # What it is.

    @property
    def path(self) -> Path:
        """The folder."""
        return self._folder

    @property
    def name(self) -> str:
        """Name it was made with, suffix included."""
        return str(self._meta.content.get("name", self._folder.name))

    @property
    def kind(self) -> str | None:
        """What sort of experiment it is."""
        return self._meta.content.get("kind")

    @property
    def id(self) -> str:
        """SHA-256 of the bytes of meta.json: `sha256sum meta.json` prints it."""
        return self._meta.id

    @property
    def short_id(self) -> str:
        """The first eight digits of the ID."""
        return self.id[:8]

    @property
    def params_id(self) -> str:
        """SHA-256 of the canonical JSON of the params in meta.json: equal for equal settings."""
        nonfinite = self._meta.content.get("nonfinite") or {}
        own = {pointer[len("/params") :]: text for pointer, text in nonfinite.items() if pointer.startswith("/params/")}
        plain, found = params_.plain_params(self._meta.content["params"])
        return params_.params_id(plain, {**own, **found})

    @property
    def meta(self) -> FrozenDict:
        """What meta.json says, read-only."""
        return self._meta.content

    @property
    def params(self) -> FrozenDict:
        """All params, those added later included, read-only; in the process that gave them with their real values."""
        if self._params is not None:
            return self._params
        result: FrozenDict = frozen({**self._meta.content["params"], **self._state().params})
        return result

    def __getitem__(self, key: str) -> Any:
        """One of the params.

        Raises:
            KeyError: There is none of that name.
        """
        params = self.params
        if key not in params:
            known = ", ".join(sorted(params)) or "none"
            raise KeyError(f"experiment {self.name!r} has no param {key!r}; it has: {known}")
        return params[key]

    @property
    def tags(self) -> tuple[str, ...]:
        """The tags, those added later included."""
        made = tuple(self._meta.content.get("tags") or ())
        return (*made, *(tag for tag in self._state().tags if tag not in made))

    @property
    def notes(self) -> tuple[str, ...]:
        """The notes, those added later included."""
        made = self._meta.content.get("notes")
        return (*((made,) if made else ()), *self._state().notes)

    @property
    def parent(self) -> Exp | None:
        """The experiment whose checkpoint this one began from, None if it has none.

        Raises:
            NotAnExperiment: It is not where it was, nor is any experiment around this one the parent.
        """
        parent = self._meta.content.get("parent") or {}
        wanted = parent.get("id")
        if wanted is None:
            return None
        given = Path(os.path.normpath(self._folder / str(parent.get("path", ".."))))
        for folder in (given, *self._folder.parents):
            if layout.is_experiment(folder) and identity.read_meta(folder).id == wanted:
                return Exp.open(folder)
        raise NotAnExperiment(
            f"the parent {wanted} of {self._folder} is neither at {given} nor around it: move it back, or open it by its path",
            path=str(given),
        )

    @property
    def sub_exps(self) -> list[Exp]:
        """The experiments below this one that name it as their parent, in order of path."""
        below = (folder for folder in layout.walk(self._folder) if folder != self._folder)
        found = [
            folder for folder in below if (identity.read_meta(folder).content.get("parent") or {}).get("id") == self.id
        ]
        return [Exp.open(folder) for folder in found]

    # What happened.

    @property
    def runs(self) -> list[RunView]:
        """The runs, the latest last; those of children stand below the run that started them."""
        return views(self._state(), datetime.now(timezone.utc))

    @property
    def status(self) -> str:
        """Status of the latest run: running, ok, failed, interrupted, preempted, killed or lost."""
        return latest_status(self._state(), self._meta.content.get("created", ""), datetime.now(timezone.utc))

    def events(
        self,
        type: str | Iterable[str] | None = None,
        name: str | None = None,
        stream: str | None = None,
        follow: bool = False,
    ) -> Events | Iterator[Any]:
        """The events, as `mlv.Event`, in order; what was logged here is waited for.

        A line that cannot be read is passed over; the byte ranges stand in `.skipped` of what is returned.

        Args:
            type: One type, or several.
            name: A pattern over names: `*` is one segment, `**` any number.
            stream: One stream only, such as `log` or `val`.
            follow: Go on with the events to come, in the order in which they arrive, until no run is going on.

        Raises:
            InvalidPattern: The pattern cannot be read.
        """
        events = Events(self._folder, type, name, stream, before=lambda: self._session.drain(_READ_OWN_WRITES_S))
        return events.follow(lambda: self.status != "running") if follow else events

    # Logging.

    @property
    def log(self) -> Logger:
        """The default logger: the root of `log.jsonl`.

        Raises:
            MetaEdited: meta.json is not the one that the runs recorded: nothing more is written.
        """
        if self._edited is not None:
            raise self._edited
        return self._log

    def logger(self, stream: str = layout.DEFAULT_STREAM, *, filter: str | None = None) -> Logger:
        """A logger into `<stream>.log.jsonl`; the default stream is `log.jsonl`.

        Args:
            stream: Name of the stream.
            filter: A regular expression over full names (`re.search`); metrics and named events that do not match are
                dropped, and counted in `run_ended`.

        Raises:
            InvalidName: The stream's name is reserved, or cannot be one.
            InvalidPattern: The filter is no regular expression.
            MetaEdited: As `log`.
        """
        if stream != layout.DEFAULT_STREAM:
            layout.check_label(stream, "stream")
        return Logger(self.log._session, stream, filter=filter)

    def add_params(self, params: Any) -> None:
        """Add params: an event of type `params`. One that is there already with the same value is passed over.

        Raises:
            InvalidParams: As in `Exp`.
            ParamsConflict: One is there already with another value.
        """
        session = self.log._session
        plain, nonfinite = params_.plain_params(params)
        real = params_.restored_params(plain, nonfinite)
        _refuse_changes(self.params, real, self.name)
        new = params_.added(self.params, real)
        if new:
            session.say(_Params(_redacted(self._redaction, new)))
            if self._params is not None:
                object.__setattr__(self, "_params", frozen({**self._params, **new}))
            tell_redacted(self._redaction)

    def add_tags(self, *tags: str) -> None:
        """Add tags: an event of type `tags`.

        Raises:
            InvalidArgument: One is no text.
        """
        self.log._session.say(_Tags(check_tags(tags)))

    def add_note(self, text: str) -> None:
        """Add a note: an event of type `note`."""
        self.log._session.say(_Note(str(text)))

    def pause(self, reason: str | None = None) -> None:
        """Say that work stops for a while: an event of type `run_paused`."""
        self.log._session.say(RunPaused(reason))

    def resume(self) -> None:
        """Say that work goes on: an event of type `run_resumed`."""
        self.log._session.say(RunResumed())

    @contextmanager
    def paused(self, reason: str | None = None) -> Iterator[None]:
        """`pause` at the beginning of the block, `resume` at its end, also after an exception."""
        self.pause(reason)
        began = monotonic()
        try:
            yield
        finally:
            self.log._session.say(RunResumed(monotonic() - began))

    def flush(self, timeout: float = 30) -> bool:
        """Return when all that was logged here is fsynced; after `timeout` seconds warn, and return False."""
        return self._session.flush(timeout)

    def close(self, status: str = "ok") -> None:
        """End the run: `run_ended` with the status, then wait until every stream is complete, sealed and fsynced.

        Logging afterwards stores nothing and warns once. Closing again does nothing.

        Raises:
            InvalidArgument: The status is none that a run can end with.
        """
        if status not in _ENDINGS:
            raise InvalidArgument(f"status={status!r}: give one of {', '.join(_ENDINGS)}", status=status)
        self._session.close(status)

    def __enter__(self) -> Exp:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        status = status_of(error)
        self._session.close(status, error if status != "ok" else None)

    # How it behaves.

    def _state(self) -> State:
        self._session.drain(_READ_OWN_WRITES_S)
        return read_state(self._folder)

    def __setattr__(self, name: str, value: Any) -> None:
        raise AttributeError(
            f"an Exp does not change: {name} stays as it is (add_params, add_tags and add_note add to it)"
        )

    def __delattr__(self, name: str) -> None:
        self.__setattr__(name, None)

    def __repr__(self) -> str:
        return f"<Exp {self.name!r} {self.short_id} at {str(self._folder)!r}>"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Exp) and self.id == other.id and self._folder == other._folder

    def __hash__(self) -> int:
        return hash(self.id)

    def __reduce__(self) -> tuple[Any, ...]:
        return travelled, (str(self._folder), self.id, self._session.run or self._session.parent_run)


class _Params(Record):
    """Params that are added: the data is the mapping itself."""

    TYPE = "params"

    def __init__(self, params: Mapping[str, Any]) -> None:
        self._data = dict(params)

    def to_data(self) -> dict[str, Any]:
        return self._data


class _Tags(_Params):
    TYPE = "tags"

    def __init__(self, tags: Sequence[str]) -> None:
        super().__init__({"tags": list(tags)})


class _Note(_Params):
    TYPE = "note"

    def __init__(self, text: str) -> None:
        super().__init__({"text": text})


class _Making:
    """What an experiment is to be made of."""

    def __init__(
        self,
        params: Any,
        kind: str | None,
        tags: Iterable[str],
        notes: str | None,
        names: Sequence[str],
        redactor: Redactor,
    ) -> None:
        self.plain, self.nonfinite = params_.plain_params(params)
        self.real = params_.restored_params(self.plain, self.nonfinite)
        self.kind, self.tags, self.notes = kind, check_tags(tags), notes
        self.names, self.redactor = names, redactor

    def into(self, exp: Exp, folder: Path, parent: Mapping[str, Any] | None = None) -> None:
        """Write meta.json into the new folder, and begin the run."""
        found = capture(self.names, self.redactor, folder, "git.diff")
        content: dict[str, Any] = {
            "format": identity.FORMAT,
            "name": folder.name,
            "kind": self.kind,
            "created": utc_text(datetime.now(timezone.utc)),
            "params": self.redactor.params(self.plain),
            "parent": parent,
            "tags": self.tags,
            "notes": self.notes,
            **{name: found.get(name) for name in CAPTURES},
        }
        if self.nonfinite:
            content["nonfinite"] = {f"/params{pointer}": text for pointer, text in self.nonfinite.items()}
        meta = identity.write_meta(folder, content)
        session = _session(folder, meta.id)
        _fill(exp, folder, meta, session, frozen(self.real), self.redactor, None)
        session.start()
        tell_redacted(self.redactor)
        print(f"mlv: {folder}", file=sys.stderr)


def _open_again(exp: Exp, folder: Path, made: _Making, may_change: Collection[str]) -> None:
    """Open exactly this experiment for another run."""
    meta = _meta_soon(folder)
    if recovery.needs_recovery(folder):
        recovery.recover(folder, _READ_OWN_WRITES_S)
    edited = identity.check_identity(folder, meta)
    if edited is not None:
        raise edited
    known = {**meta.content["params"], **read_state(folder).params}
    given = made.redactor.params(made.real)
    differing = params_.check_changes(known, given, may_change, folder.name)
    session = _session_in_this_process(folder, meta.id) or _session(
        folder, meta.id, captures=_later_captures(made.names, made.redactor, folder), params=differing
    )
    _fill(exp, folder, meta, session, frozen({**known, **made.real}), made.redactor, None)
    session.start()
    new = params_.added(known, given)
    if new:
        session.say(_Params(new))
    tell_redacted(made.redactor)
    print(f"mlv: {folder}", file=sys.stderr)


def _meta_soon(folder: Path) -> Meta:
    """The meta.json of a folder that another process may be making at this moment."""
    deadline = monotonic() + _META_WITHIN_S
    while not layout.is_experiment(folder) and folder.is_dir() and monotonic() < deadline:
        sleep(0.01)
    return identity.read_meta(folder)


def _later_captures(names: Collection[str], redactor: Redactor, folder: Path) -> Any:
    def make() -> dict[str, Any]:
        return capture(names, redactor, folder, f"git-{utc_text(datetime.now(timezone.utc)).replace(':', '')}.diff")

    return make


_sessions: weakref.WeakValueDictionary[tuple[int, str, str], Session] = weakref.WeakValueDictionary()


def _session(folder: Path, exp_id: str, **options: Any) -> Session:
    session = Session(folder, exp_id, **options)
    _sessions[os.getpid(), os.path.realpath(folder), exp_id] = session
    return session


def _session_in_this_process(folder: Path, exp_id: str) -> Session | None:
    """The run that this process has in the experiment, unless it has ended."""
    session = _sessions.get((os.getpid(), os.path.realpath(folder), exp_id))
    return session if session is not None and not session.is_closed else None


def _fill(
    exp: Exp,
    folder: Path,
    meta: Meta,
    session: Session,
    params: FrozenDict | None,
    redactor: Redactor,
    edited: MetaEdited | None,
) -> None:
    """Set the attributes of an Exp, which cannot be set afterwards."""
    values = {
        "_folder": folder, "_meta": meta, "_session": session, "_params": params, "_redaction": redactor,
        "_edited": edited, "_log": Logger(session, layout.DEFAULT_STREAM),
    }  # fmt: skip
    for name, value in values.items():
        object.__setattr__(exp, name, value)


def travelled(path: str, exp_id: str, run: str | None) -> Exp:
    """An Exp that was pickled: the same one in its own process, elsewhere one whose run names the run it came from."""
    folder = Path(path)
    meta = identity.read_meta(folder)
    exp = Exp.__new__(Exp)
    session = _travelled_session(folder, exp_id, run)
    _fill(exp, folder, meta, session, None, make_redactor((), ()), None)
    return exp


def travelled_logger(
    path: str, exp_id: str, run: str | None, stream: str, name: str, at: Mapping[str, Any], filter: str | None
) -> Logger:
    """A Logger that was pickled; as `travelled`."""
    return Logger(_travelled_session(Path(path), exp_id, run), stream, name, at, filter)


def _travelled_session(folder: Path, exp_id: str, run: str | None) -> Session:
    return _session_in_this_process(folder, exp_id) or _session(folder, exp_id, parent_run=run)


def check_tags(tags: Iterable[str]) -> list[str]:
    """Accept tags.

    Raises:
        InvalidArgument: They are one text, or one of them is none.
    """
    if isinstance(tags, str):
        raise InvalidArgument(f"tags={tags!r} is one text: give a list, [{tags!r}]", tags=tags)
    found = list(tags)
    wrong = [tag for tag in found if not isinstance(tag, str) or not tag]
    if wrong:
        raise InvalidArgument(f"tag {wrong[0]!r} is no text, or empty: give words", tags=found)
    return list(dict.fromkeys(found))


def _refuse_changes(known: Mapping[str, Any], given: Mapping[str, Any], name: str) -> None:
    differing = params_.changed(known, given)
    if differing:
        key = next(iter(differing))
        raise ParamsConflict(
            f"params.{key} of experiment {name!r} is {known[key]!r} and stays so: it cannot become {given[key]!r}. Params are "
            f"only added to; use another name",
            keys=list(differing),
        )


def _redacted(redactor: Redactor, params: Mapping[str, Any]) -> dict[str, Any]:
    result: dict[str, Any] = redactor.params(dict(params))
    return result


def _path(path: Any, what: str) -> str:
    try:
        text = os.fspath(path)
    except TypeError:
        raise InvalidArgument(f"{what}={path!r} is of type {type(path).__name__}: give a path", path=path) from None
    if isinstance(text, bytes):
        text = os.fsdecode(text)
    if "\0" in text:
        raise InvalidArgument(f"{what}={text!r} holds a NUL character: leave it out", path=path)
    return os.path.expanduser(text)
