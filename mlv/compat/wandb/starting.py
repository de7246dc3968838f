"""`wandb.init`: from arguments, settings and variables to a run in an experiment, and the runs of this process."""

from __future__ import annotations

import atexit
import os
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext, redirect_stderr
from importlib import import_module
from pathlib import Path
from typing import Any

from mlv import Exp, InvalidName
from mlv.compat.wandb import active, boards, folders, limits
from mlv.compat.wandb.config import Config, parse_config
from mlv.compat.wandb.errors import UsageError
from mlv.compat.wandb.restoring import restored
from mlv.compat.wandb.run import Run
from mlv.compat.wandb.settings import Settings, resolved
from mlv.compat.wandb.terminal import termwarn
from mlv.settings import NAME, RANKS

_active: list[Run] = []
"""The runs of this process that are not finished, in order of their beginning."""
_global: Run | None = None
_lock = threading.RLock()
_of_session: Settings | None = None
_on_change: list[Callable[[Run | None], None]] = []
_completed_in = 0
"""The process whose end completes runs."""
_WELL = ("ok",)
"""Statuses of a run with which `resume="auto"` does not go on."""


def init(
    entity: str | None = None,
    project: str | None = None,
    dir: str | os.PathLike[str] | None = None,
    id: str | None = None,
    name: str | None = None,
    notes: str | None = None,
    tags: Sequence[str] | None = None,
    config: Any = None,
    config_exclude_keys: Sequence[str] | None = None,
    config_include_keys: Sequence[str] | None = None,
    allow_val_change: bool | None = None,
    group: str | None = None,
    job_type: str | None = None,
    mode: str | None = None,
    force: bool | None = None,  # noqa: ARG001 - of wandb, as some below
    reinit: bool | str | None = None,
    resume: bool | str | None = None,
    resume_from: str | None = None,
    fork_from: str | None = None,
    save_code: bool | None = None,  # noqa: ARG001
    tensorboard: bool | None = None,
    sync_tensorboard: bool | None = None,
    monitor_gym: bool | None = None,
    settings: Settings | Mapping[str, Any] | None = None,
    anonymous: Any = None,  # noqa: ARG001
) -> Run:
    """Begin a run: the experiment `<dir>/<project>/<name>`; while one goes on, return that.

    Each process that calls it has a run of its own, also among ranks that were launched together.

    Args:
        entity: Who or what it belongs to; kept in the log.
        project: The folder that it lies in; the name of the git repository by default.
        dir: The folder of projects; `WANDB_DIR`, or what `MLV_DIR` says, by default.
        id: By which it is resumed; a new one by default.
        name: Of the experiment, with a number behind it where it is taken; by default what `MLV_NAME` says, or the ID.
        notes: A text for people.
        tags: Words to find it by.
        config: The params: a mapping, a namespace, flags, an object with attributes, or the path of a file of YAML.
        config_exclude_keys: Keys of it to leave out.
        config_include_keys: The only keys of it to take.
        allow_val_change: Whether values of the config may change.
        group: Kept in the log.
        job_type: The kind of the experiment.
        mode: `disabled` stores nothing; `online` and `offline` are the same.
        force: Does nothing here: there is nobody to log in with.
        reinit: What to do while a run goes on: `return_previous`, `finish_previous`, or `create_new`, beside it.
        resume: Go on with the run of the ID: `allow`, `must`, `never`, or `auto`, which is the last one that ended badly.
        resume_from: `<id>?_step=<n>`: go on with that run behind this step.
        fork_from: Refused here.
        save_code: Does nothing here: script, commit and changes are always captured.
        tensorboard: The former name of `sync_tensorboard`.
        sync_tensorboard: Have scalars of SummaryWriter logged as well.
        monitor_gym: Does nothing here but warn.
        settings: Other settings.
        anonymous: Does nothing here.

    Raises:
        UsageError: An argument cannot be used, `must` finds no run, or `never` finds one.
        UnsupportedError: Something of wandb is asked for that is missing here.
        SavedirUnusable: Nothing can be made in the folder.
    """
    arguments = {
        "entity": entity, "project": project, "root_dir": dir, "run_id": id, "run_name": name, "run_notes": notes,
        "run_tags": tags, "allow_val_change": allow_val_change, "run_group": group, "run_job_type": job_type, "mode": mode,
        "reinit": reinit, "resume": resume, "resume_from": resume_from, "fork_from": fork_from,
        "sync_tensorboard": tensorboard if sync_tensorboard is None else sync_tensorboard,
    }  # fmt: skip
    chosen = resolved(_of_session, settings, {key: value for key, value in arguments.items() if value is not None})
    trial = _trial_of(chosen)
    if monitor_gym:
        termwarn("monitor_gym=True does nothing: log a wandb.Video of the frames", repeat=False)
    with _lock:
        previous = _ready_for_another(chosen)
        if previous is not None:
            return previous
        values = parse_config(config or {}, config_exclude_keys, config_include_keys)
        run = _begin(chosen, values, trial)
        _active.append(run)
        if chosen.sync_tensorboard and not run.disabled:
            boards.follow(current)
        if chosen.reinit != "create_new":
            _make_global(run)
    return run


def finish(exit_code: int | None = None, quiet: bool | None = None) -> None:
    """End the run that `init` made last; without one, do nothing."""
    run = _global or (_active[-1] if _active else None)
    if run is not None:
        run.finish(exit_code, quiet)


def setup(settings: Settings | Mapping[str, Any] | None = None) -> Settings:
    """Keep settings for all runs of this process."""
    global _of_session
    _of_session = settings if isinstance(settings, Settings) else Settings(**(settings or {}))
    return _of_session


def teardown(exit_code: int | None = None) -> None:
    """End all runs of this process, and forget the settings of `setup`."""
    global _of_session
    finish_all(exit_code)
    _of_session = None


def finish_all(exit_code: int | None = None) -> None:
    """End all runs of this process. Not called by users."""
    for run in [*_active]:
        run.finish(exit_code)


def latest() -> Run | None:
    """Return the run of this process that began last and goes on."""
    own = [run for run in _active if run.is_of_this_process]
    return own[-1] if own else None


def current() -> Run | None:
    """Return the run that the functions of the module serve."""
    return _global


def on_change(tell: Callable[[Run | None], None]) -> None:
    """Have a function called with the run that the functions of the module serve, whenever that is another one."""
    _on_change.append(tell)


def _ready_for_another(chosen: Settings) -> Run | None:
    """Return the run that goes on, if it shall; end it, if another one shall take its place."""
    own = [run for run in _active if run.is_of_this_process]  # a forked child has a run of its own, if it calls `init`
    if not own or chosen.reinit == "create_new":
        return None
    if chosen.reinit == "finish_previous" or (chosen.reinit in (None, "default") and _is_notebook()):
        for run in own:
            run.finish()
        return None
    return own[-1]


def _trial_of(chosen: Settings) -> Any:
    """Return the point of a sweep that the run is for, None for none; its project is that of the sweep."""
    if not os.environ.get("WANDB_SWEEP_PARAM_PATH"):
        return None
    from mlv.compat.wandb.sweeps import trial as trial_  # few scripts sweep

    trial = trial_.trial_of(os.environ)
    if trial is not None:
        project = trial.sweep.project
        chosen.update_from_dict({"project": project.name, "root_dir": project.parent, "sweep_id": trial.sweep.id})
    return trial


def _begin(chosen: Settings, values: Mapping[str, Any], trial: Any) -> Run:
    if chosen.mode == "shared":
        limits.refuse('init(mode="shared")', "give each process a run of its own, and join them by group=")
    if chosen.fork_from is not None:
        limits.refuse("init(fork_from=...)", "mlv.init_sub_exp(checkpoint, kind) goes on from a checkpoint in a new experiment")
    config = Config()
    vars(config)["_may_change"] = bool(chosen.allow_val_change or (chosen.allow_val_change is None and _is_notebook()))
    if trial is not None:
        config.update_locked(trial.config, user="sweep")
    if chosen.mode == "disabled":
        config.update(values, allow_val_change=True)
        return Run(None, config, chosen, chosen.run_id or folders.generate_id(), chosen.project or "dummy", _forget)
    project = chosen.project or folders.default_project()
    folder = folders.project_folder(chosen.root_dir, project)
    earlier, run_id, step = _earlier(chosen, folder)
    with _printing(chosen):
        if earlier is None:
            config.update(values, allow_val_change=True)
            exp = _made(chosen, folder, run_id, config)
        else:
            exp = Exp.open(earlier, **_of_run(chosen))
            if step is not None:
                exp.rewind(step)
    folders.remember_id(exp.path, run_id)
    if chosen.resume == "auto":
        folders.remember_last_id(folder, run_id)
    run = Run(exp, config, chosen, run_id, project, _forget)
    if earlier is not None:
        run.go_on(*restored(exp))
        config.update(values, allow_val_change=True)
    run._record({
        "id": run_id, "name": chosen.run_name, "project": project, "entity": chosen.entity, "group": chosen.run_group,
        "job_type": chosen.run_job_type, "resumed": earlier is not None or None, "host": chosen.host, "sweep": chosen.sweep_id,
    })  # fmt: skip
    if trial is not None:
        run.stop_by(trial.stopper())
    _complete_at_exit()
    return run


def _earlier(chosen: Settings, folder: Path) -> tuple[Path | None, str, float | None]:
    """Return the experiment to go on with, None for a new one; the ID; and the step to go back to.

    Raises:
        UsageError: It has to be there and is not, or the other way round.
    """
    if chosen.resume_from is not None:
        run_id, _, step = str(chosen.resume_from).partition("?_step=")
        path = folders.with_id(folder, run_id)
        if path is None or not step.isdecimal():
            raise UsageError(f"resume_from={chosen.resume_from!r}: give <id>?_step=<n> with the ID of a run in {folder}")
        return path, run_id, int(step)
    if chosen.resume == "auto" and chosen.run_id is None:
        last = folders.last_id(folder)
        path = folders.with_id(folder, last) if last is not None else None
        if last is not None and path is not None and Exp.open(path).status not in _WELL:
            return path, last, None
    run_id = chosen.run_id or folders.generate_id()
    path = folders.with_id(folder, run_id) if chosen.run_id is not None and chosen.resume not in (None, "default") else None
    if chosen.resume == "must" and path is None:
        raise UsageError(f'resume="must", and there is no run {run_id!r} in {folder}: give the id of one, or resume="allow"')
    if chosen.resume == "never" and path is not None:
        raise UsageError(f'resume="never", and {path} is run {run_id!r}: give another id, or resume="allow"')
    return path, run_id, None


def _made(chosen: Settings, folder: Path, run_id: str, config: Config) -> Exp:
    """Make the experiment of a new run."""
    name = folders.clean(chosen.run_name or NAME.get() or "") or folders.clean(run_id) or "run"
    kind = chosen.run_job_type
    options = {"tags": chosen.run_tags or (), "notes": chosen.run_notes, **_of_run(chosen)}
    try:
        return Exp(folder, name, config.as_dict(), kind=kind, **options)
    except InvalidName:
        if kind is None:
            raise
        return Exp(folder, name, config.as_dict(), **options)  # such a job type can be no kind; the log has it


def _of_run(chosen: Settings) -> dict[str, Any]:
    """Return the arguments of `Exp` that hold for each run."""
    left_out = {"git"} if chosen.disable_git else set()
    if chosen.x_disable_meta:
        left_out |= {"machine"}
    options: dict[str, Any] = {"console": chosen.console != "off"}
    if RANKS.get() == "auto":
        options["ranks"] = "apart"  # in wandb each rank that calls `init` has a run of its own
    options["capture"] = [word for word in ("script", "git", "env", "machine") if word not in left_out]
    if chosen.x_disable_stats:
        options["system"] = False
    elif chosen.x_stats_sampling_interval is not None:
        options["system"] = float(chosen.x_stats_sampling_interval)
    return options


def _printing(chosen: Settings) -> Any:
    return redirect_stderr(None) if chosen.silent else nullcontext()


def _make_global(run: Run | None) -> None:
    global _global
    _global = run
    for tell in _on_change:
        tell(run)


def _forget(run: Run) -> None:
    """Take a finished run from those of this process."""
    with _lock:
        if run in _active:
            _active.remove(run)
        if run is _global:
            _make_global(None)


def _is_notebook() -> bool:
    shell = sys.modules.get("IPython")
    return shell is not None and type(shell.get_ipython()).__name__ == "ZMQInteractiveShell"


def _complete_at_exit() -> None:
    """Have the files of runs that nobody finishes attached, before mlv ends those with the status of the process."""
    global _completed_in
    if _completed_in == os.getpid():
        return
    # Behind the first event of a run, since what is registered last is called first.
    multiprocessing = sys.modules.get("multiprocessing.process")
    atexit.register(_complete_all)
    if multiprocessing is not None and multiprocessing.parent_process() is not None:
        # Such a child leaves by os._exit, and runs what is registered at exit since Python 3.13 only.
        import_module("multiprocessing.util").Finalize(None, _complete_all, exitpriority=101)
    _completed_in = os.getpid()


def _complete_all() -> None:
    for run in [*_active]:
        run.complete()


def _after_fork() -> None:
    global _lock
    _lock = threading.RLock()  # another thread of the parent may have held it
    for run in _active:
        run._lock = threading.RLock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
active.register(latest, init)
