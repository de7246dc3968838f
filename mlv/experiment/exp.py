"""The experiment: an immutable folder-and-identity, through which a script logs and reads."""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Iterable, Mapping
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from mlv import settings
from mlv.capture.redaction import Redactor
from mlv.errors import InvalidArgument, MetaEdited, OnlyRead, ParamsConflict
from mlv.experiment.exp_checkpoints import Checkpoints
from mlv.experiment.exp_housekeeping import Housekeeping
from mlv.experiment.exp_identity import Identity
from mlv.experiment.exp_reading import Readings
from mlv.experiment.exp_references import References
from mlv.experiment.exp_runs import Running
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
from mlv.experiment.opening.setup import ExpComponents, Making, later_captures, recover_if_needed, wishes_of
from mlv.experiment.session import DRAIN_TIMEOUT_S, Session, session_in_this_process
from mlv.frozen import FrozenDict, frozen
from mlv.projections.outputs import checked_outputs
from mlv.state import State
from mlv.store import layout
from mlv.store import meta as meta_
from mlv.store.meta import Meta
from mlv.store.paths import bucket_url, checked_path
from mlv.transport.wishes import Wishes

if TYPE_CHECKING:
    from mlv.query.view import ExperimentView


class Exp(Identity, Running, Extras, Checkpoints, Readings, References, Housekeeping):
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
    _edited: MetaEdited | OnlyRead | None
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
        ship: str | bool | None = None,
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
            ship: The URL of a bucket, such as `s3://lab/runs`, to which a process of its own ships the run while it goes on;
                False for none, None for what `MLV_SHIP` says.

        Raises:
            InvalidName: The name or kind cannot be used.
            InvalidParams: The params are not mapping-like; or, with `strict`, hold a value without a JSON form.
            InvalidArgument: An option has an unknown value.
            InvalidPattern: The filter of an output is no regular expression.
            MissingExtra: An output, or shipping, needs a package that is not installed.
            SavedirUnusable: Nothing can be made in savedir.
            ExperimentExists: The name is taken, with `on_exists="error"`.
            ParamsConflict: A param differs from the one the experiment was made with, with `on_exists="open"`.
            RanksNotMet: Rank 0 made no experiment within five minutes (`MLV_RANKS_TIMEOUT_S`).
            MetaEdited: `meta.json` was edited since, with `on_exists="open"`.
        """
        if on_exists not in ("suffix", "open", "error"):
            raise InvalidArgument(f"on_exists={on_exists!r}: give 'suffix', 'open' or 'error'", on_exists=on_exists)
        if name is None:
            savedir, name, on_exists = setup.configured(savedir, on_exists)
        if name is not None:
            layout.check_name(name, "experiment name")
        elif on_exists == "open":
            raise InvalidArgument("on_exists='open' needs a name: say which experiment to open", on_exists=on_exists)
        if kind is not None:
            layout.check_label(kind, "kind")
        captures, redactor = check_captures(capture), make_redactor(redact, [*redact_except, *keep])
        if name is not None:
            refuse_credential(redactor, name, "name")
        options: dict[str, Any] = {"system": system, "console": console, "strict": strict, "ship": ship}
        making = Making(params, kind, tags, notes, captures, redactor, outputs, **options)
        given_ranks = checked_ranks(ranks)
        savedir = checked_path(settings.DIR.get() if savedir is None else savedir, "savedir")
        folder = savedir / (name or setup.timestamp_name(datetime.now()))
        self._set(
            together(
                folder.parent,
                f"experiment {name!r}" if name is not None else "an experiment",
                lambda: setup.make_or_open(making, folder, on_exists, may_change),
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
        into: str | os.PathLike[str] | None = None,
        rewind_to: float | None = None,
        outputs: Iterable[Any] = (),
        ranks: str = "main",
        redact: Iterable[str] = (),
        redact_except: Iterable[str] = (),
        keep: Iterable[str] = (),
        capture: Collection[str] = CAPTURES,
        system: float | None = None,
        console: bool = False,
        ship: str | bool | None = None,
    ) -> Exp:
        """Return the experiment in a folder again: to read, or to log into as another run, which begins with its first event.

        What killed processes left waiting is written first.

        One in a bucket, such as `s3://lab/runs/long`, can be read; `into` brings it to this machine, to log into.

        Args:
            path: The folder, or the URL in a bucket.
            into: For a URL: a folder around experiments. The experiment is brought there with its lines, and with the
                checkpoint at `rewind_to`, or else the latest; a copy that is there gets those that it lacks.
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
            ship: Where the new run is shipped to, as in `Exp`.

        Raises:
            InvalidArgument, InvalidPattern, MissingExtra: As `Exp`, for the outputs and what is captured.
            NotAnExperiment: The folder holds none.
            InvalidArgument: `rewind_to` is no number, or beyond all that survives.
            MetaEdited: meta.json is not the one that the runs recorded, with `rewind_to`.
            OnlyRead: It is in a bucket, with `rewind_to` and without `into`.
            BucketError: The bucket cannot be read.
            CheckpointMissing: The checkpoint to go on from, with `into`, was not shipped.
        """
        run_outputs, given_ranks = checked_outputs(outputs), checked_ranks(ranks)
        run_ship = setup.ship_of_later_run(ship)
        launch_rank = this_launch_rank(given_ranks)
        folder = _opened_folder(path, into, rewind_to, launch_rank.rank)
        meta = meta_.read_meta(folder)
        with setup.translated_os_errors(f"experiment {folder.name!r}", folder):
            recover_if_needed(folder)
            edited = setup.refusal(folder, meta)
        redactor = redactor_of(meta.content, redact, [*redact_except, *keep])
        captures, wishes = later_captures(folder, check_captures(capture), redactor), wishes_of(system, redactor)
        if launch_rank.rank and session_in_this_process(folder, meta.id) is None and not settings.DISABLED.get():
            is_doubtful = may_be_apart(launch_rank)
            session = session_of_rank(
                folder, meta.id, launch_rank.rank, given_ranks, wishes=wishes, is_doubtful=is_doubtful, ship=run_ship
            )
        else:
            session = session_for(folder, meta.id, captures=captures, outputs=run_outputs, wishes=wishes, ship=run_ship)
            redactor = session.redact_also(redactor)
        session.is_apart = given_ranks == "apart"
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

    def summarize(self, values: Mapping[str, Any]) -> None:
        """Record values that are no series, such as a total time: an event of type `summary`, as `exp.log.summarize` does.

        A value that cannot be stored is `rejected`, and raises nothing. Where no run goes on, also after `close()`, the event
        is written beside the runs, as tags are.

        Raises:
            MetaEdited: As `log`.
        """
        self.log.summarize(values)

    def __enter__(self) -> Exp:
        return self

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
            OnlyRead: It is in a bucket.
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


def _opened_folder(path: Any, into: Any, rewind_to: Any, rank: int) -> Path:
    """Return the folder of an experiment that is opened; one in a bucket is brought to this machine."""
    if into is None and bucket_url(path) is None:
        return checked_path(path, "path", is_read=True)
    from mlv.experiment.opening import elsewhere  # `import mlv` does without

    return elsewhere.read_folder(path) if into is None else elsewhere.bring(path, into, rewind_to, rank)


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
    edited = setup.refusal(folder, meta)
    session = travelled_session(folder, exp_id, run, wishes, rank, is_silent)
    return Exp.of_components(ExpComponents(folder, meta, session, wishes.redactor(), edited=edited))
