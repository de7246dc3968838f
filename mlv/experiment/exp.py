"""The experiment: an immutable folder-and-identity, through which a script logs and reads."""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime
from itertools import chain
from pathlib import Path
from time import monotonic
from types import TracebackType
from typing import TYPE_CHECKING, Any, NoReturn

from mlv import settings
from mlv.capture.redaction import Redactor
from mlv.errors import ExperimentExists, InvalidArgument, MetaEdited, MlvWarning, NotAnExperiment, ParamsConflict, UnknownParam
from mlv.events import STATUSES, RunPaused, RunResumed
from mlv.experiment.exp_checkpoints import Checkpoints
from mlv.experiment.exp_housekeeping import Housekeeping
from mlv.experiment.exp_reading import Readings
from mlv.experiment.exp_references import References
from mlv.experiment.files.objects import Extras
from mlv.experiment.logger import Logger, logger_of
from mlv.experiment.null_sessions import session_for, session_of_rank, travelled_session
from mlv.experiment.opening import params as params_
from mlv.experiment.opening import setup
from mlv.experiment.opening.captures import (
    CAPTURES,
    check_captures,
    make_redactor,
    redactor_of,
    refuse_credential,
    warn_of_redactions,
)
from mlv.experiment.opening.ranks import checked_ranks, this_launch_rank
from mlv.experiment.opening.rendezvous import may_be_apart, together
from mlv.experiment.opening.setup import ExpComponents, Making, checked_tags, later_captures, recover_if_needed, wishes_of
from mlv.experiment.session import DRAIN_TIMEOUT_S, Session, session_in_this_process
from mlv.frozen import FrozenDict, frozen
from mlv.notices import say, warn
from mlv.projections.outputs import checked_outputs
from mlv.state import State
from mlv.store import ends, layout
from mlv.store import meta as meta_
from mlv.store.identities import known_ids
from mlv.store.meta import Meta
from mlv.store.paths import checked_path
from mlv.transport.wishes import Wishes

if TYPE_CHECKING:
    from mlv.query.view import ExperimentView

_ENDINGS = tuple(status for status in STATUSES if status not in ("running", "lost"))


class Exp(Extras, Checkpoints, Readings, References, Housekeeping):
    """An experiment: a folder whose `meta.json` never changes, and logs that are only ever appended to.

    `Exp(savedir, name, params)` makes `<savedir>/<name>` with its `meta.json` and begins a run that writes `log.jsonl`.
    The run ends with `close()`, with the `with` block, with the last reference to the experiment and its loggers, or with
    the process: `ok`, or `failed` after an uncaught exception.

    Under `MLV_DISABLED=1` all calls are there, nothing is stored, and files and checkpoints last as long as the process.

    The object does not change; params and meta are read-only all the way down. It can be used from threads, and travels to
    forked and spawned children, whose events are those of a run of their own.
    """

    __slots__ = ("__weakref__", "_edited", "_folder", "_log", "_meta", "_params", "_read_state", "_redactor", "_session")

    _folder: Path
    _meta: Meta
    _session: Session
    _log: Logger
    _redactor: Redactor
    _params: FrozenDict | None
    _edited: MetaEdited | None
    _read_state: Callable[[], State]

    def __init__(
        self,
        savedir: str | os.PathLike[str] | None = None,
        name: str | None = None,
        params: Any = None,
        *,
        kind: str | None = None,
        tags: Iterable[str] = (),
        notes: str | None = None,
        outputs: Iterable[Any] = (),
        ranks: str = "main",
        on_exists: str = "suffix",
        may_change: Collection[str] = (),
        capture: Collection[str] = CAPTURES,
        redact: Iterable[str] = (),
        redact_except: Iterable[str] = (),
        keep: Iterable[str] = (),
        system: float | None = None,
        console: bool = False,
        strict: bool = False,
    ) -> None:
        """Make an experiment, and begin a run in it. The path is printed once, on stderr.

        Args:
            savedir: Folder for experiments, made if it is missing; None takes the setting `MLV_DIR`, or else `runs`.
            name: One name without separators; None takes the setting `MLV_NAME`, or else the local time. Where `MLV_EXP` names
                an experiment and the script none, that one is opened, or made where it is missing.
            params: A mapping, a namespace, dataclass, attrs, pydantic, msgspec or OmegaConf object. A value without a JSON
                form, such as a device or a function, is stored as text, and one warning names them.
            kind: What sort of experiment it is, such as `squeeze`.
            tags: Words to find it by, beside those of the setting `MLV_TAGS`.
            notes: A text for people.
            outputs: Other forms of the log that are kept as it grows: `tensorboard`, `hdf5`, `csv`, `parquet`, `console`, or
                objects with options (`mlv.projections`). Each goes to the folder of its name in the experiment.
            ranks: Of processes that were launched together (torchrun, SLURM, MPI, or RANK and WORLD_SIZE), rank 0 makes the
                experiment, and the others get the same one. With `main` nothing that they log or save is stored; with
                `all` each logs into `rank<N>.log.jsonl`. With `apart` each process makes its own, and waits for nobody. A task
                of `srun` or `mpirun` that gives other params, or another kind, name or folder, makes its own, and a warning
                says so; `MLV_RANKS=together` or `apart` decides it.
            on_exists: What happens if the name is taken: `suffix` takes `<name>_1`, `<name>_2` ..., `open` opens exactly it
                for another run (new params are added; one that differs raises), `error` raises.
            may_change: With `open`, keys of params that may differ: their values are kept in the run's `run_started`.
            capture: What to record about the process, of `script`, `git`, `env` and `machine`.
            redact: Regular expressions over names and values that are credentials as well.
            redact_except: Regular expressions over names that are never redacted; `message` and `console` exempt those.
            keep: The former name of `redact_except`.
            system: Seconds between two samples of processors, memory, disk, network, GPUs and the run's own share, which the
                writer puts into `system.log.jsonl`; False for none, None for what `MLV_SYSTEM` says, or 10.
            console: Whether what the process, its libraries and its children print goes into `console.log.jsonl` too.
            strict: Whether params that hold a value without a JSON form are refused.

        Raises:
            InvalidName: The name or kind cannot be used.
            InvalidParams: The params are not mapping-like; or, with `strict`, hold a value without a JSON form.
            InvalidArgument: An option has an unknown value.
            InvalidPattern: The filter of an output is no regular expression.
            MissingExtra: An output needs a package that is not installed.
            SavedirUnusable: Nothing can be made in savedir.
            ExperimentExists: The name is taken, with `on_exists="error"`.
            ParamsConflict: A param differs from the one the experiment was made with, with `on_exists="open"`.
            RanksNotMet: Rank 0 made no experiment within five minutes (`MLV_RANKS_TIMEOUT_S`).
            MetaEdited: `meta.json` was edited since, with `on_exists="open"`.
        """
        if on_exists not in ("suffix", "open", "error"):
            raise InvalidArgument(f"on_exists={on_exists!r}: give 'suffix', 'open' or 'error'", on_exists=on_exists)
        if name is None:
            savedir, name, on_exists = _configured(savedir, on_exists)
        if name is not None:
            layout.check_name(name, "experiment name")
        elif on_exists == "open":
            raise InvalidArgument("on_exists='open' needs a name: say which experiment to open", on_exists=on_exists)
        if kind is not None:
            layout.check_label(kind, "kind")
        captures, redactor = check_captures(capture), make_redactor(redact, [*redact_except, *keep])
        if name is not None:
            refuse_credential(redactor, name, "name")
        making = Making(params, kind, tags, notes, captures, redactor, outputs, system=system, console=console, strict=strict)
        given_ranks = checked_ranks(ranks)
        savedir = checked_path(settings.DIR.get() if savedir is None else savedir, "savedir")
        folder = savedir / (name or setup.timestamp_name(datetime.now()))
        self._set(
            together(
                folder.parent,
                f"experiment {name!r}" if name is not None else "an experiment",
                lambda: _open_or_make(making, folder, may_change) if on_exists == "open" else _make(making, folder, on_exists),
                lambda exp_folder, rank, run: making.join(exp_folder, given_ranks, rank, run),
                exact=folder if on_exists == "open" else None,
                differences=lambda exp_folder: making.differences(exp_folder, may_change, is_opened=on_exists == "open"),
                ranks=given_ranks,
            )
        )

    @classmethod
    def open(
        cls,
        path: str | os.PathLike[str],
        *,
        rewind_to: float | None = None,
        outputs: Iterable[Any] = (),
        ranks: str = "main",
        redact: Iterable[str] = (),
        redact_except: Iterable[str] = (),
        keep: Iterable[str] = (),
        capture: Collection[str] = CAPTURES,
        system: float | None = None,
        console: bool = False,
    ) -> Exp:
        """Return the experiment in a folder again: to read, or to log into as another run, which begins with its first event.

        What killed processes left waiting is written first.

        Args:
            path: The folder.
            rewind_to: Go on from this step, that of a checkpoint for instance: what was logged so far with a greater one is
                superseded, by a `rewound` event. Nothing is removed; `history`, `frame`, `summary`, `find` and `sql` show
                what survives, `events` shows everything. What was logged without a step survives. Superseded checkpoints are
                neither the best nor the latest, and are let go at the next save unless they are kept for good.
            outputs: Those of the new run, as in `Exp`.
            ranks: As in `Exp`: with `main`, nothing that ranks above 0 log is stored. Rank 0 rewinds for all.
            redact: Regular expressions over what is a credential as well, beside those that the experiment was made with.
            redact_except: As in `Exp`, beside those that the experiment was made with.
            keep: The former name of `redact_except`.
            capture: What to record about the process when the run begins, as in `Exp`.
            system: Seconds between two samples of the machine in the new run, as in `Exp`.
            console: Whether what is printed is captured, as in `Exp`: then the run begins at once.

        Raises:
            InvalidArgument, InvalidPattern, MissingExtra: As `Exp`, for the outputs and what is captured.
            NotAnExperiment: The folder holds none.
            InvalidArgument: `rewind_to` is no number, or beyond all that survives.
            MetaEdited: meta.json is not the one that the runs recorded, with `rewind_to`.
        """
        folder, run_outputs = checked_path(path, "path"), checked_outputs(outputs)
        given_ranks = checked_ranks(ranks)
        launch_rank = this_launch_rank(given_ranks)
        meta = meta_.read_meta(folder)
        with setup.translated_os_errors(f"experiment {folder.name!r}", folder):
            recover_if_needed(folder)
            edited = meta_.check_identity(folder, meta)
        if edited is not None:
            warn(str(edited), MlvWarning)
        redactor = redactor_of(meta.content, redact, [*redact_except, *keep])
        captures, wishes = later_captures(folder, check_captures(capture), redactor), wishes_of(system, redactor)
        if launch_rank.rank and session_in_this_process(folder, meta.id) is None and not settings.DISABLED.get():
            is_doubtful = may_be_apart(launch_rank)
            session = session_of_rank(folder, meta.id, launch_rank.rank, given_ranks, wishes=wishes, is_doubtful=is_doubtful)
        else:
            session = session_for(folder, meta.id, captures=captures, outputs=run_outputs, wishes=wishes)
            redactor = session.redact_also(redactor)
        components = ExpComponents(folder, meta, session, redactor, edited=edited)
        exp = cls.of_components(components)
        if rewind_to is not None:
            exp.rewind(rewind_to)
        if console and not (session.is_disabled or session.is_silent):
            session.capture_console()
        return exp

    @classmethod
    def of_components(cls, components: ExpComponents) -> Exp:
        """Build an Exp of its components. Not called by users."""
        exp = cls.__new__(cls)
        exp._set(components)
        return exp

    # Identity and settings.

    @property
    def path(self) -> Path:
        """The folder; under `MLV_DISABLED` a private one that is removed with the end of the process."""
        self._session.prepare()
        return self._folder

    @property
    def name(self) -> str:
        """Name of the folder; `meta["name"]` is the one it was made with."""
        return str(self._meta.content.get("name")) if self._session.is_disabled else self._folder.name

    @property
    def rank(self) -> int:
        """Rank of this process among those that were launched together; 0 if it is alone."""
        return self._session.rank

    @property
    def is_main(self) -> bool:
        """Whether this process is rank 0, which makes the experiment and, with `ranks="main"`, alone writes into it."""
        return self.rank == 0

    @property
    def kind(self) -> str | None:
        """The sort of experiment, such as `squeeze`."""
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
        plain, new_nonfinite = params_.plain_params(self._meta.content["params"])
        return params_.params_id(plain, {**own, **new_nonfinite})

    @property
    def meta(self) -> FrozenDict:
        """The content of meta.json, read-only."""
        return self._meta.content

    @property
    def params(self) -> FrozenDict:
        """All params, those added later included, read-only; in the process that passed them with their real values."""
        if self._params is not None:
            return self._params
        result: FrozenDict = frozen(self._view().params)
        return result

    def __contains__(self, key: object) -> bool:
        return key in self.params

    def __getitem__(self, key: str) -> Any:
        """Return one of the params.

        Raises:
            UnknownParam: There is none of that name.
        """
        params = self.params
        if key not in params:
            names = ", ".join(sorted(params)) or "none"
            raise UnknownParam(f"experiment {self.name!r} has no param {key!r}; it has: {names}", key=key)
        return params[key]

    @property
    def tags(self) -> tuple[str, ...]:
        """The tags, those added later included, without those taken away."""
        return self._view().tags

    @property
    def notes(self) -> tuple[str, ...]:
        """The notes, those added later included."""
        return self._view().notes

    @property
    def parent(self) -> Exp | None:
        """The experiment whose checkpoint this one began from, None if it has none.

        Raises:
            NotAnExperiment: It is not where it was, nor is any experiment around this one the parent.
        """
        parent = self._meta.content.get("parent") or {}
        parent_id = parent.get("id")
        if parent_id is None:
            return None
        from mlv.store import moves  # `import mlv` does without

        path = str(parent.get("path", ".."))
        for folder in chain(moves.candidates(self._folder, path, parent_id), self._folder.parents):
            if layout.is_experiment(folder) and parent_id in known_ids(folder):
                return Exp.open(folder)
        expected = os.path.normpath(self._folder / path)
        raise NotAnExperiment(
            f"the parent {parent_id} of {self._folder} is neither at {expected} nor around it: move it back, or open it by its "
            f"path",
            path=expected,
        )

    @property
    def sub_exps(self) -> list[Exp]:
        """The experiments below this one that name it as their parent, in order of path; one that cannot be read warns."""
        below = (folder for folder in layout.walk(self._folder) if folder != self._folder)
        ids = known_ids(self._folder)
        return [Exp.open(folder) for folder in below if _parent_id(folder) in ids]

    # The end.

    @property
    def digest(self) -> str | None:
        """Digest that proves the lines written until the latest run ended, for `mlv verify --expect`; None during a run."""
        return ends.digest_of(self._folder)

    # Logging.

    @property
    def log(self) -> Logger:
        """The default logger: the root of `log.jsonl`.

        Raises:
            MetaEdited: meta.json is not the one that the runs recorded: nothing more is written.
        """
        self._writable()
        return self._log

    def logger(self, stream: str = layout.DEFAULT_STREAM, *, filter: str | None = None) -> Logger:
        """Return a logger into `<stream>.log.jsonl`; the default stream is `log.jsonl`, with `ranks="all"` that of the rank.

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
            refuse_credential(self._redactor, stream, "stream")
        session = self._writable()
        return logger_of(session, session.stream if stream == layout.DEFAULT_STREAM else stream, filter=filter)

    def add_params(self, params: Any, *, lenient: bool = False) -> None:
        """Add params: an event of type `params`. One that is there already with the same value is passed over.

        Args:
            params: As in `Exp`.
            lenient: For params that a framework hands over: nothing that they hold is an error. Of a value that changed the
                first one stays, and an event of type `params_changed` records the other; a value without a JSON form becomes
                its text, and a message says so. Each is warned about once.

        Raises:
            InvalidParams: As in `Exp`, unless lenient.
            ParamsConflict: One is there already with another value, unless lenient.
        """
        session, recorded = self._writable(), self.params
        if lenient:
            from mlv.experiment.opening import lenient as lenient_  # `import mlv` does without

            new = lenient_.add(session, self._redactor, recorded, params)
        else:
            requested = params_.restored_params(*params_.plain_params(params))
            _refuse_changes(recorded, requested, self.name)
            new = params_.added(recorded, requested)
            if new:
                session.emit("params", self._redactor.params(new))
        if new and self._params is not None:
            object.__setattr__(self, "_params", frozen({**self._params, **new}))
        warn_of_redactions(self._redactor)

    def add_tags(self, *tags: str) -> None:
        """Add tags: an event of type `tags`.

        Tags are no run: where this process has none in the experiment, they are written at once, beside the runs, whose
        status, start and duration stay, also while another process goes on with one.

        Raises:
            InvalidArgument: One is no text.
            NotAnnotated: Nothing can be written into the folder.
        """
        self._writable().annotate("tags", {"tags": checked_tags(tags, self._redactor)})
        warn_of_redactions(self._redactor)

    def add_note(self, text: str) -> None:
        """Add a note: an event of type `note`, written as tags are.

        Raises:
            NotAnnotated: Nothing can be written into the folder.
        """
        self._writable().annotate("note", {"text": self._redactor.text(str(text), "note")})
        warn_of_redactions(self._redactor)

    def summarize(self, values: Mapping[str, Any]) -> None:
        """Record values that are no series, such as a total time: an event of type `summary`, as `exp.log.summarize` does.

        A value that cannot be stored is `rejected`, and raises nothing. Where no run goes on, also after `close()`, the event
        is written beside the runs, as tags are.

        Raises:
            MetaEdited: As `log`.
        """
        self.log.summarize(values)

    def pause(self, reason: str | None = None) -> None:
        """Record that work stops for a while: an event of type `run_paused`."""
        self._writable().emit_record(RunPaused(reason))

    def resume(self) -> None:
        """Record that work goes on: an event of type `run_resumed`."""
        self._writable().emit_record(RunResumed())

    @contextmanager
    def paused(self, reason: str | None = None) -> Iterator[None]:
        """Call `pause` at the beginning of the block, and `resume` at its end, also after an exception."""
        self.pause(reason)
        began = monotonic()
        try:
            yield
        finally:
            self._writable().emit_record(RunResumed(monotonic() - began))

    def rewind(self, step: float) -> None:
        """Go on from a step in the run of this `Exp`: otherwise as `Exp.open(path, rewind_to=step)`, on ranks as well.

        Raises:
            InvalidArgument: The step is no number, or beyond all that survives.
            MetaEdited: As `log`.
        """
        folder = self._folder
        components = ExpComponents(folder, self._meta, self._session, self._redactor, edited=self._edited)
        description = f"rewind of {folder.name!r} to step {step!r}"
        is_apart = this_launch_rank().rank != self._session.rank
        together(
            folder.parent,
            description,
            lambda: _rewind_to(components, step),
            lambda *_: components,
            exact=folder,
            ranks="apart" if is_apart else "main",
        )

    def flush(self, timeout: float = 30, *, outputs: bool = False) -> bool:
        """Return when all that was logged here is fsynced; after `timeout` seconds warn, and return False.

        With `outputs=True`, return when the run's outputs hold it as well; False if one of them does not within the time.
        """
        return self._session.flush(timeout, outputs)

    def close(self, status: str = "ok") -> None:
        """End the run: `run_ended` with the status, then wait until every stream is complete, sealed and fsynced.

        A run is ended by the `Exp` that began it, or by the last of those that wrote: closing another one of this process
        leaves it going on. What would be `ok` is `preempted` where SIGTERM, or SIGUSR1 under SLURM, has asked the process to
        end. Logging afterwards stores nothing and warns once. Closing again does nothing.

        The digest of all that was written is said on stderr: kept elsewhere, `mlv verify --expect` shows what was cut off or
        changed since.

        Raises:
            InvalidArgument: The status is none that a run can end with.
        """
        if status not in _ENDINGS:
            raise InvalidArgument(f"status={status!r}: give one of {', '.join(_ENDINGS)}", status=status)
        with self._telling_digest():
            if status == "ok":
                self._session.end()
                return
            if self._session.is_beside:
                warn(f"close({status!r}) ends nothing: run {self._session.run} goes on with the Exp that began it", MlvWarning)
            self._session.close(status)

    def __enter__(self) -> Exp:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        with self._telling_digest():
            self._session.end(error)

    @contextmanager
    def _telling_digest(self) -> Iterator[None]:
        """Print the digest if the block leaves the log complete: kept elsewhere, it proves that nothing was cut off later."""
        session = self._session
        is_told = session.is_started and not (session.is_disabled or session.is_silent or session.parent_run)
        before = ends.digest_of(self._folder) if is_told else None
        yield
        if is_told and (digest := ends.digest_of(self._folder)) not in (None, before):
            say(f"mlv: {self._folder.name} is complete, digest {digest}")

    # Internals.

    def _set(self, components: ExpComponents) -> None:
        """Set the attributes, which cannot be set afterwards."""
        values = {
            "_folder": components.folder,
            "_meta": components.meta,
            "_session": components.session,
            "_redactor": components.redactor,
            "_params": components.params,
            "_edited": components.edited,
            "_log": logger_of(components.session, components.session.stream),
            "_read_state": components.session.state_reader(components.folder),
        }
        for name, value in values.items():
            object.__setattr__(self, name, value)

    def _writable(self) -> Session:
        """Return the run of this process, where anything may be written.

        Raises:
            MetaEdited: meta.json is not the one that the runs recorded.
        """
        if self._edited is not None:
            raise self._edited
        return self._session

    def _state(self) -> State:
        self._session.drain(DRAIN_TIMEOUT_S)
        return self._read_state()

    def _view(self) -> ExperimentView:
        from mlv.query.view import ExperimentView  # `import mlv` does without

        return ExperimentView(self._folder, self.id, self._meta.content, self._state())

    def __setattr__(self, name: str, value: object) -> NoReturn:
        raise AttributeError(f"an Exp does not change: {name} stays as it is (add_params, add_tags and add_note add to it)")

    def __delattr__(self, name: str) -> NoReturn:
        self.__setattr__(name, None)

    def __repr__(self) -> str:
        return f"<Exp {self.name!r} {self.short_id} at {str(self._folder)!r}>"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Exp) and self.id == other.id and self._folder == other._folder

    def __hash__(self) -> int:
        return hash(self.id)

    def __reduce__(self) -> tuple[Any, ...]:

        session = self._session
        travels = (str(self.path), self.id, session.run or session.parent_run, session.wishes)
        return travelled_exp, (*travels, session.rank, session.is_silent)


def _configured(savedir: Any, on_exists: str) -> tuple[Any, str | None, str]:
    """Return the savedir, the name and the `on_exists` of an experiment that was given no name, as the settings have them."""
    exp = settings.EXP.get()
    return (savedir, settings.NAME.get(), on_exists) if exp is None else (exp.parent, exp.name, "open")


def _make(making: Making, folder: Path, on_exists: str) -> ExpComponents:
    """Make a new experiment in a new folder."""
    return making.make(setup.make_folder(folder.parent, folder.name, suffix=on_exists == "suffix"))


def _open_or_make(making: Making, folder: Path, may_change: Collection[str]) -> ExpComponents:
    """Open exactly this experiment; make it first where it is missing."""
    if setup.is_taken(folder):
        return making.open(folder, may_change)
    try:
        return _make(making, folder, "error")
    except ExperimentExists:
        return making.open(folder, may_change)  # somebody else made it just now


def _rewind_to(components: ExpComponents, step: float) -> ExpComponents:
    """Rewind the experiment to a step, and return it."""
    from mlv.experiment.opening.rewind import rewind  # reads much that `import mlv` does without

    if components.edited is not None:
        raise components.edited
    if not components.session.is_disabled:  # nothing is stored, so that nothing can have come too far
        rewind(components.session, step)
    return components


def _parent_id(folder: Path) -> str | None:
    try:
        parent = meta_.read_meta(folder).content.get("parent")
    except NotAnExperiment as error:
        warn(str(error), MlvWarning)
        return None
    return parent.get("id") if isinstance(parent, dict) else None


def _refuse_changes(recorded: Mapping[str, Any], requested: Mapping[str, Any], name: str) -> None:
    differing = params_.changed(recorded, requested)
    if differing:
        key = next(iter(differing))
        raise ParamsConflict(
            f"params.{key} of experiment {name!r} is {recorded[key]!r} and stays so: it cannot become {requested[key]!r}. "
            f"Params are only added to; use another name",
            keys=list(differing),
        )


def travelled_exp(path: str, exp_id: str, run: str | None, wishes: Wishes, rank: int = 0, is_silent: bool = False) -> Exp:
    """Rebuild a pickled Exp: with the same run in its own process, elsewhere with one that names the run it came from."""
    folder = Path(path)
    meta = meta_.read_meta(folder)
    edited = meta_.check_identity(folder, meta)
    if edited is not None:
        warn(str(edited), MlvWarning)
    session = travelled_session(folder, exp_id, run, wishes, rank, is_silent)
    return Exp.of_components(ExpComponents(folder, meta, session, wishes.redactor(), edited=edited))
