"""`wandb.Run`: a run that logs into an experiment, row by row."""

from __future__ import annotations

import math
import os
import threading
import time
import weakref
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext, redirect_stderr, suppress
from datetime import timedelta
from enum import Enum
from operator import index
from pathlib import Path
from types import TracebackType
from typing import IO, Any, NoReturn

from mlv import Exp
from mlv.compat.wandb import folders, limits
from mlv.compat.wandb.config import Config, ConfigStatic
from mlv.compat.wandb.errors import Error, UsageError
from mlv.compat.wandb.metrics import Definitions, Metric
from mlv.compat.wandb.rows import store_media, taken_apart
from mlv.compat.wandb.settings import Settings, tags_of
from mlv.compat.wandb.summary import Summary
from mlv.compat.wandb.terminal import termwarn
from mlv.compat.wandb.values import are_equal
from mlv.compat.wandb.watching import CHOICES, Watch

_NUMBERS = frozenset({int, float, bool})
"""Types of values that a row of plain numbers is made of."""
_LAST_STEP = (1 << 63) - 1
_POLICIES = ("live", "end", "now")
_STORED = (int, float, str)
"""Types of values that `exp.summarize` takes."""


class AlertLevel(Enum):
    """How urgent an alert is."""

    INFO = "INFO"
    WARN = "WARN"
    ERROR = "ERROR"


class Run:
    """A run of wandb: what it logs stands in the log of an experiment when the call returns.

    Each call of `log` leaves a line of its own, under the step of its row, also where the row stays open: a killed process
    loses no part of a row. A step below that of the open row is kept, where wandb drops it.
    """

    def __init__(
        self, exp: Exp | None, config: Config, settings: Settings, run_id: str, project: str, on_finish: Callable[[Run], None]
    ) -> None:
        """Begin a run. Not called by users: `init` gives runs. Without an experiment it stores nothing."""
        self._exp, self._id, self._project, self._settings = exp, run_id, project, settings
        self._put = exp.log if exp is not None else None
        self._is_plain = exp is not None
        """Whether rows of plain numbers go into the log as they are: nothing is defined for any metric."""
        self._config = config
        self._step = self._starting_step = 0
        self._resumed = self._is_finished = self._is_complete = False
        self._name: str = settings.run_name or (exp.name if exp is not None else f"dummy-{run_id}")
        self._tags: tuple[str, ...] = settings.run_tags or ()
        self._notes: str | None = settings.run_notes
        self._start_time = time.time()
        self._latest: dict[str, Any] = {}
        self._summarized: dict[str, Any] = {}
        """Values that the script put into the summary itself."""
        self._definitions = Definitions()
        self._summary = Summary(self._latest, self._summarize)
        self._dir: str | None = None
        self._saved: dict[str, tuple[str, float]] = {}
        """Paths of files that are attached again at the end, by their names, with the times of their last changes."""
        self._watches: list[Watch] = []
        self._alerts: dict[str, float] = {}
        self._warned: set[str] = set()
        self._lock = threading.RLock()
        self._pid = os.getpid()
        self._on_finish = on_finish
        vars(config)["_changed"] = self._store_config

    # Identity.

    @property
    def id(self) -> str:
        """The ID, by which a run is resumed."""
        return self._id

    @property
    def exp(self) -> Exp | None:
        """The experiment of mlv; None where the run is disabled."""
        return self._exp

    @property
    def name(self) -> str:
        """The name: that of the experiment's folder, unless a script sets another."""
        return self._name

    @name.setter
    def name(self, name: str) -> None:
        self._name = str(name)
        self._record({"name": self._name})

    @property
    def notes(self) -> str | None:
        """A text for people."""
        return self._notes

    @notes.setter
    def notes(self, notes: str) -> None:
        self._notes = str(notes)
        if self._exp is not None:
            self._exp.add_note(self._notes)

    @property
    def tags(self) -> tuple[str, ...]:
        """Words to find it by; those that a script adds are added to the experiment."""
        return self._tags

    @tags.setter
    def tags(self, tags: Sequence[str]) -> None:
        before, self._tags = self._tags, tags_of([tags] if isinstance(tags, str) else tags)
        new = [tag for tag in self._tags if tag not in before]
        if new and self._exp is not None:
            self._exp.add_tags(*new)

    @property
    def dir(self) -> str:
        """A folder for files of the script, which are attached to the experiment when the run ends."""
        if self._dir is None:
            if self._exp is None:
                import shutil  # a run that stores something does without both
                import tempfile

                self._dir = tempfile.mkdtemp(prefix="wandb-")
                weakref.finalize(self, shutil.rmtree, self._dir, ignore_errors=True)
            else:
                self._dir = str(folders.id_folder(self._exp.path.absolute(), self._id) / "files")
        os.makedirs(self._dir, exist_ok=True)
        return self._dir

    @property
    def url(self) -> str | None:
        """The address of the experiment's folder."""
        return None if self._exp is None else self._exp.path.absolute().as_uri()

    @property
    def project_url(self) -> str | None:
        """The address of the project's folder."""
        return None if self._exp is None else self._exp.path.absolute().parent.as_uri()

    def get_url(self) -> str | None:
        """Return `url`."""
        return self.url

    def get_project_url(self) -> str | None:
        """Return `project_url`."""
        return self.project_url

    @property
    def project(self) -> str:
        """The name of the project."""
        return self._project

    def project_name(self) -> str:
        """Return `project`."""
        return self._project

    @property
    def entity(self) -> str:
        """Who or what it belongs to, where somebody said so."""
        return self._settings.entity or ""

    @property
    def group(self) -> str:
        """The name of the group."""
        return self._settings.run_group or ""

    @property
    def job_type(self) -> str:
        """The sort of run, which is the kind of the experiment."""
        return self._settings.run_job_type or ""

    @property
    def path(self) -> str:
        """`<entity>/<project>/<id>`, without an entity that nobody named."""
        return "/".join(filter(None, (self.entity, self._project, self._id)))

    @property
    def step(self) -> int:
        """The step of the row that the next call without a step logs into."""
        return self._step

    @property
    def starting_step(self) -> int:
        """The first step of this run; above 0 where it was resumed."""
        return self._starting_step

    @property
    def resumed(self) -> bool:
        """Whether it goes on with an earlier run."""
        return self._resumed

    @property
    def disabled(self) -> bool:
        """Whether nothing is stored."""
        return self._exp is None

    @property
    def offline(self) -> bool:
        """Whether nothing is sent anywhere: always."""
        return True

    @property
    def mode(self) -> str:
        """`disabled` or `offline`."""
        return "disabled" if self._exp is None else "offline"

    @property
    def start_time(self) -> float:
        """When it began, in seconds since 1970."""
        return self._start_time

    @property
    def sweep_id(self) -> None:
        """The sweep that it belongs to: there are none here."""
        return None

    sweep_url = sweep_id

    @property
    def settings(self) -> Settings:
        """The settings in force."""
        return self._settings

    @property
    def config(self) -> Config:
        """The params."""
        return self._config

    @property
    def config_static(self) -> ConfigStatic:
        """The params as they are now, read-only."""
        return ConfigStatic(self._config)

    @property
    def summary(self) -> Summary:
        """The last values of all metrics, and those that the script puts there."""
        return self._summary

    # Logging.

    def log(self, data: Mapping[str, Any], step: int | None = None, commit: bool | None = None) -> None:
        """Log a row, or a part of one.

        Args:
            data: Numbers, texts, lists, media and mappings of these, by name.
            step: The number of the row; the row stays open until a greater one comes, or a call without a step.
            commit: Whether the row is complete; without a step it is, unless this says otherwise.

        Raises:
            UsageError: The run is finished.
            TypeError: The data is no mapping, a name no text, or the step no integer.
        """
        if step is None and commit is None and self._is_plain and type(data) is dict:
            # The fast path, for rows of plain numbers.
            put: Any = self._put
            for key, value in data.items():
                if type(key) is not str or type(value) not in _NUMBERS:
                    break
            else:
                if data:
                    put(data, step=self._step)
                self._step += 1
                self._latest.update(data)
                return
        self._check_unfinished("log")
        if not isinstance(data, Mapping):
            raise TypeError("wandb.log must be passed a dictionary")
        if isinstance(step, bool):
            raise TypeError(f"step={step!r} is a truth value: give an integer")
        number = None if step is None else index(step)
        with self._lock:
            row = self._step if number is None else number
            self._log_into(row, data)
            if self._exp is not None and row <= _LAST_STEP:  # the log rejects a greater one, and must take the next row
                self._step = max(self._step, row)
                if commit or (number is None and commit is None):
                    self._step += row >= self._step

    def _log_into(self, row: int, data: Mapping[str, Any]) -> None:
        metrics, media = taken_apart(data)
        if self._definitions:
            self._definitions.complete(self._put, metrics)
        if self._put is not None and metrics:
            self._put(metrics, step=row)
        if self._definitions:
            self._definitions.summarized(metrics, self._latest)
        else:
            self._latest.update(metrics)
        if self._exp is not None:
            for name, item in media:
                self._guarded(name, store_media, self._exp, name, item, row)

    def _log_open(self, make: Callable[[], Mapping[str, Any]]) -> None:
        """Log what a function makes into the row that is open, and leave it open."""
        if not self._is_finished:
            self._guarded("watch", lambda: self._log_into(self._step, make()))

    def define_metric(
        self,
        name: str,
        step_metric: str | Metric | None = None,
        step_sync: bool | None = None,
        hidden: bool | None = None,
        summary: str | None = None,
        overwrite: bool | None = None,
    ) -> Metric:
        """Describe metrics: `Logger.describe(name, x=step_metric, summary=...)` for each name.

        Args:
            name: Of a metric, or the beginning of names and `*`.
            step_metric: The metric that is its x axis.
            step_sync: Whether a row without a value of the x axis takes the last one; where there is an axis, it does.
            hidden: Does nothing here.
            summary: `min max mean last first none`, or several with commas: they are in `run.summary`, and the first of them
                that mlv has stands for the metric in lists.
            overwrite: Does nothing here: a later definition wins.

        Raises:
            UsageError: The run is finished.
            Error: An argument cannot be used.
        """
        self._check_unfinished("define_metric")
        self._is_plain = False
        options = {"step_sync": step_sync, "hidden": hidden, "overwrite": overwrite}
        return self._definitions.define(self._put, name, step_metric, summary, options)

    def alert(self, title: str, text: str = "", level: Any = None, wait_duration: Any = None) -> None:
        """Log a message of this level; nothing is sent.

        Raises:
            ValueError: The level is none of `INFO WARN ERROR`.
            TypeError: The duration is none.
        """
        word = level.value if isinstance(level, AlertLevel) else level or "INFO"
        if word not in {member.value for member in AlertLevel}:
            raise ValueError("level must be one of 'INFO', 'WARN', or 'ERROR'")
        wait = wait_duration.total_seconds() if isinstance(wait_duration, timedelta) else wait_duration
        if wait is not None and not isinstance(wait, (int, float)):
            raise TypeError("wait_duration must be an int, float, or datetime.timedelta")
        now = time.monotonic()
        if self._put is None or now < self._alerts.get(title, -math.inf):
            return
        self._alerts[title] = now + (60 if wait is None else wait)
        say = {"INFO": self._put.info, "WARN": self._put.warning, "ERROR": self._put.error}[word]
        say(f"{title}: {text}" if text else title, alert=title)

    def watch(
        self,
        models: Any,
        criterion: Any = None,
        log: str | None = "gradients",
        log_freq: int = 1000,
        idx: int | None = None,
        log_graph: bool = False,
    ) -> None:
        """Log histograms of the gradients and parameters of torch modules, `gradients/<name>` and `parameters/<name>`.

        Args:
            models: A module, or several.
            criterion: Does nothing here.
            log: `gradients`, `parameters`, `all`, or None.
            log_freq: Passes between two histograms.
            idx: The number of the first module, which stands in front of names where it is above 0.
            log_graph: Does nothing here: a graph needs an example, `run.exp.log.graph(name, module, example)`.

        Raises:
            ValueError: `log` is none of these, or one of the models is no module.
        """
        if log not in CHOICES:
            raise ValueError("log must be one of 'gradients', 'parameters', 'all', or None")
        for number, module in enumerate(models if isinstance(models, (tuple, list)) else (models,), idx or 0):
            if not hasattr(module, "named_parameters"):
                raise ValueError(f"Expected a pytorch module (torch.nn.Module). Received {type(module)}")
            if any(watch.module is module for watch in self._watches):
                raise ValueError("You can only call `wandb.watch` once per model. Pass a new instance of the model")
            prefix = f"graph_{number}" if number else ""
            self._watches.append(Watch(module, prefix, log, log_freq, self._log_open))

    def unwatch(self, models: Any = None) -> None:
        """Take the hooks of `watch` away, from some modules or from all."""
        chosen = models if isinstance(models, (tuple, list)) else (models,)
        for watch in [*self._watches]:
            if models is None or any(watch.module is module for module in chosen):
                watch.remove()
                self._watches.remove(watch)

    # Files.

    def save(self, glob_str: Any = None, base_path: Any = None, policy: str = "live", glob: bool = True) -> bool | list[str]:
        """Attach files to the experiment, `files/<path below base_path>`.

        Args:
            glob_str: A path, or a pattern.
            base_path: The folder below which paths are kept; the current one, or for an absolute path the one above its own.
            policy: `now`, or `live` or `end`: those are attached again at the end of the run if they have changed.
            glob: Whether the path is a pattern.

        Returns:
            The paths of the attachments.

        Raises:
            ValueError: The policy is none, or the path is not below `base_path`.
            UsageError: The run is finished.
        """
        self._check_unfinished("save")
        if glob_str is None:
            return True
        if policy not in _POLICIES:
            raise ValueError('Only "live", "end" and "now" policies are currently supported.')
        text = os.fsdecode(glob_str)
        if text.startswith(("gs://", "s3://")):
            termwarn(f"{text} is a cloud storage url, can't save file to W&B.")
            return []
        absolute = Path(os.path.abspath(text))
        base = Path(os.path.abspath(base_path)) if base_path is not None else self._base_of(text, absolute)
        if not absolute.is_relative_to(base):
            raise ValueError(f"{text} is not below base_path={base}: give a folder above it")
        if self._exp is None:
            return []
        from glob import glob as matching  # a run that saves nothing does without

        paths = sorted(matching(str(absolute))) if glob else [str(absolute)] if absolute.exists() else []
        targets = [self._attach(path, Path(path).relative_to(base).as_posix()) for path in paths]
        if policy != "now":
            self._saved.update((path, (Path(path).relative_to(base).as_posix(), _changed_at(path))) for path in paths)
        return [str(target) for target in targets if target is not None]

    def restore(self, name: str, run_path: str | None = None, replace: bool = False, root: str | None = None) -> IO[str] | None:
        """Copy a file of the experiment into a folder, and open it.

        Args:
            name: Below `files`, or below `dir`.
            run_path: Of another run: that is not possible here.
            replace: Whether a file that is there is written over.
            root: The folder; that of the run by default.

        Raises:
            UnsupportedError: A file of another run is asked for.
            ValueError: There is no such file.
        """
        if run_path not in (None, self.path):
            limits.refuse("restore(run_path=...)", "files of other runs are read with mlv.Exp.open(path).path / 'files'")
        if self._exp is None:
            return None
        source = next((path for path in (Path(self.dir, name), self._exp.path / "files" / name) if path.is_file()), None)
        if source is None:
            raise ValueError(f"File {name} not found in {self.path or None}.")
        target = Path(self.dir if root is None else root, name)
        if target != source and (replace or not target.exists()):
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(source.read_bytes())
        return open(target, encoding="utf-8", errors="replace")

    def log_code(self, root: str | None = ".", name: str | None = None, include_fn: Any = None, exclude_fn: Any = None) -> None:
        """Attach source files, `files/code/...`; commit, changes and script are in `meta.json` anyway.

        Args:
            root: The folder.
            name: Does nothing here.
            include_fn: Decides by the path, and the folder if it takes two arguments; files of Python by default.
            exclude_fn: Decides which of those are left out.
        """
        if self._exp is None:
            return
        base = Path(os.path.abspath(root or "."))
        for folder, names, files in os.walk(base):
            names[:] = sorted(
                word for word in names if not word.startswith(".") and not (Path(folder, word) / "meta.json").exists()
            )
            for path in (Path(folder, file) for file in sorted(files)):
                is_wanted = path.suffix == ".py" or path.name.startswith("requirements")
                if _decides(include_fn, path, base, is_wanted) and not _decides(exclude_fn, path, base, False):
                    self._attach(str(path), f"code/{path.relative_to(base).as_posix()}")

    def _attach(self, path: str, name: str) -> Path | None:
        return self._guarded(path, self._exp.attach, path, name) if self._exp is not None else None

    def _base_of(self, text: str, path: Path) -> Path:
        """Return the folder below which the path of a saved file is kept."""
        if self._dir is not None and path.is_relative_to(self._dir):
            return Path(self._dir)
        return path.parent.parent if os.path.isabs(text) else Path(os.path.abspath("."))

    # Artifacts.

    def log_artifact(
        self,
        artifact_or_path: Any,
        name: str | None = None,
        type: str | None = None,
        aliases: Sequence[str] | None = None,
        tags: Sequence[str] | None = None,
    ) -> Any:
        """Store a set of files as the next version of its name; one that is equal to the latest version is that.

        Args:
            artifact_or_path: An `Artifact`, or the path of a file or folder.
            name: Of an artifact for a path; `run-<id>-<name of the file>` by default.
            type: Of an artifact for a path.
            aliases: Names of the version, beside `latest`.
            tags: Further ones.

        Raises:
            UsageError: The run is finished.
            ValueError: There is nothing at the path.
        """
        from mlv.compat.wandb import artifacts  # most scripts do without

        self._check_unfinished("log_artifact")
        artifact = artifact_or_path
        if not isinstance(artifact, artifacts.Artifact):
            path = Path(os.path.abspath(artifact_or_path))
            artifact = artifacts.Artifact(name or f"run-{self._id}-{path.name}", type or "unspecified")
            (artifact.add_dir if path.is_dir() else artifact.add_file)(path)
        if self._exp is not None:
            self._guarded(
                artifact.name, artifact.store, self._exp, self._exp.path.parent, self._id, [*(aliases or ()), *(tags or ())]
            )
        return artifact

    upsert_artifact = finish_artifact = log_artifact

    def use_artifact(
        self, artifact_or_name: Any, type: str | None = None, aliases: Sequence[str] | None = None, use_as: str | None = None
    ) -> Any:
        """Return a version of an artifact of the project, and record that this run uses it.

        Args:
            artifact_or_name: `name`, `name:alias`, `name:v3`, with a project in front where it is another one; or an
                `Artifact`, which is logged if it is new.
            type: What it has to be, if anything.
            aliases: Of a new one.
            use_as: Does nothing here.

        Raises:
            UsageError: There is none, or it is of another type; or the run is finished.
        """
        from mlv.compat.wandb import artifacts  # most scripts do without

        self._check_unfinished("use_artifact")
        artifact = artifact_or_name
        if isinstance(artifact, artifacts.Artifact):
            if ":" not in artifact.name:
                artifact = self.log_artifact(artifact, aliases=aliases)
        else:
            project, _, reference = str(artifact_or_name).rpartition("/")
            folder = folders.project_folder(self._settings.root_dir, project.rpartition("/")[2] or self._project)
            artifact = artifacts.Artifact.of_version(folder, reference)
        if type is not None and artifact.type != type:
            raise UsageError(f"artifact {artifact.name} is of type {artifact.type!r}, not {type!r}")
        if self._exp is not None:
            self._guarded(artifact.name, artifacts.log_event, self._exp, "use_artifact", artifact)
        return artifact

    def log_model(self, path: Any, name: str | None = None, aliases: Sequence[str] | None = None) -> None:
        """Store a model, a file or folder, as an artifact of the type `model`."""
        self.log_artifact(path, name, "model", aliases)

    def use_model(self, name: str) -> str:
        """Return the path of a model that was stored, copied below `artifacts`.

        Raises:
            UsageError: There is none of that name.
        """
        artifact = self.use_artifact(name)
        folder = str(artifact.download())
        files = artifact.files()
        return os.path.join(folder, files[0].path) if len(files) == 1 else folder

    # The end.

    def finish(self, exit_code: int | None = None, quiet: bool | None = None) -> None:
        """End the run: as `ok`, or as `failed` with an exit code above 0; what lies in `dir` is attached first."""
        if not self._is_finished:
            self._finish(lambda exp: exp.close("failed" if exit_code else "ok"))

    def join(self, exit_code: int | None = None) -> None:
        """End the run; the former name of `finish`."""
        self.finish(exit_code)

    def _finish(self, close: Callable[[Exp], None]) -> None:
        self.complete()
        self._is_finished = True
        self._put, self._is_plain = None, False
        try:
            if self._exp is not None:
                with redirect_stderr(None) if self._settings.silent else nullcontext():
                    close(self._exp)
        finally:
            self._on_finish(self)

    def complete(self) -> None:
        """Attach the files that the end of the run is for. Not called by users."""
        self.unwatch()
        if self._exp is None or not self.is_of_this_process or self._is_complete:
            return
        self._is_complete = True
        again = [
            key for key, value in self._summarized.items() if key in self._latest and not are_equal(self._latest[key], value)
        ]
        if again:  # a metric was logged behind a value of the same name, and wandb shows what came last
            self._summarize({key: self._latest[key] for key in again})
        for path, (name, changed_at) in self._saved.items():
            if os.path.exists(path) and _changed_at(path) != changed_at:
                self._attach(path, name)
        saved = {name for name, _ in self._saved.values()}
        if self._dir is not None and os.path.isdir(self._dir):
            for folder, _, files in sorted(os.walk(self._dir)):
                for file in sorted(files):
                    path = os.path.join(folder, file)
                    name = Path(path).relative_to(self._dir).as_posix()
                    if name not in saved:
                        self._attach(path, name)

    def __enter__(self) -> Run:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if not self._is_finished:
            self._finish(lambda exp: exp.__exit__(kind, error, trace))

    def mark_preempting(self) -> None:
        """Record that the machine will be taken away: a message."""
        if self._put is not None:
            self._put.warning("the run is being preempted")

    # The page of wandb, which is not there.

    def display(self, height: int = 420, hidden: bool = False) -> bool:
        """Return False: there is nothing to show in a notebook; `mlv ui` shows experiments."""
        return False

    def to_html(self, height: int = 420, hidden: bool = False) -> str:
        """Return a link to the experiment's folder."""
        return f'<a href="{self.url}">{self._name}</a>'

    def status(self) -> Any:
        """Return that nothing waits: what was logged is written."""
        return type("RunStatus", (), {"sync_items_total": 0, "sync_items_pending": 0, "sync_time": None})()

    def write_logs(self, text: str) -> None:
        """Log a message."""
        if self._put is not None:
            self._put.info(text.rstrip("\n"))

    def _label(self, *_: Any, **__: Any) -> None:
        """Do nothing: libraries tell wandb their names by this."""

    # Internals.

    @property
    def is_of_this_process(self) -> bool:
        """Whether `init` made it in this process, and not in the one that this was forked from. Not used by users."""
        return self._pid == os.getpid()

    def go_on(self, step: int, config: Mapping[str, Any], summary: Mapping[str, Any]) -> None:
        """Go on with the earlier run of the experiment. Not called by users."""
        self._resumed, self._step, self._starting_step = True, step, step
        if self._exp is not None:
            new, self._tags = self._tags, self._exp.tags
            self.tags = list(dict.fromkeys((*self._tags, *new)))
            if self._notes is not None and self._notes not in self._exp.notes:
                self.notes = self._notes
        vars(self._config)["_items"].update(config)
        self._latest.update(summary)

    def _check_unfinished(self, call: str) -> None:
        if self._is_finished:
            raise UsageError(
                f"Run ({self._id}) is finished. The call to `{call}` will be ignored. "
                "Please make sure that you are using an active run."
            )

    def _record(self, facts: Mapping[str, Any]) -> None:
        """Log facts about the run: an event `wandb/run`."""
        if self._put is not None:
            self._put("wandb/run", {key: value for key, value in facts.items() if value not in (None, "", ())})

    def _store_config(self, new: Mapping[str, Any]) -> None:
        self._check_unfinished("config.update")
        if self._exp is not None:
            self._exp.add_params(new, lenient=True)

    def _summarize(self, new: dict[str, Any]) -> None:
        self._check_unfinished("summary.update")
        self._summarized.update(new)
        if self._exp is None:
            return
        values, others = _split(new)
        if values:
            self._exp.summarize(values)
        if others:
            self._exp.log("wandb/summary", others)

    def _guarded(self, subject: str, do: Callable[..., Any], *arguments: Any) -> Any:
        """Return the result of a call; what goes wrong ends no training, and is warned about once for each subject."""
        try:
            return do(*arguments)
        except Exception as error:
            if subject not in self._warned:
                self._warned.add(subject)
                text = f"{subject!r} is not stored, and the run goes on: {type(error).__name__}: {error}"
                termwarn(text)
                if self._put is not None:
                    self._put.warning(text)
            return None

    def __setattr__(self, name: str, value: Any) -> None:
        if not name.startswith("_") and not isinstance(getattr(type(self), name, None), property):
            raise Error(f"Attribute {name} is not supported on Run object.")
        object.__setattr__(self, name, value)

    def __getattr__(self, name: str) -> NoReturn:
        limits.missing("Run", name)

    def __repr__(self) -> str:
        return f"<wandb run {self.path} in {self._exp.path if self._exp is not None else 'no folder'}>"


def _split(values: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the values that `exp.summarize` takes, and the others, each nested as before."""
    good: dict[str, Any] = {}
    others: dict[str, Any] = {}
    for key, value in values.items():
        if isinstance(value, Mapping):
            good_inner, others_inner = _split(value)
            good |= {key: good_inner} if good_inner else {}
            others |= {key: others_inner} if others_inner or not value else {}
        else:
            (good if isinstance(value, _STORED) else others)[key] = value
    return good, others


def _decides(function: Any, path: Path, root: Path, default: bool) -> bool:
    if function is None:
        return default
    try:
        return bool(function(str(path), str(root)))
    except TypeError:
        return bool(function(str(path)))


def _changed_at(path: str) -> float:
    with suppress(OSError):
        return os.stat(path).st_mtime
    return 0.0
