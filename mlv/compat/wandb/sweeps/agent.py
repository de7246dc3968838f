"""`wandb.sweep` and `wandb.agent`: sweeps begin, and points of theirs are tried one after the other."""

from __future__ import annotations

import os
import signal
import subprocess
import threading
import traceback
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, nullcontext, suppress
from pathlib import Path
from time import monotonic
from typing import Any

from mlv import Exp, MlvError
from mlv.compat.replacing import environment_of
from mlv.compat.wandb import folders, limits
from mlv.compat.wandb.errors import NotFound
from mlv.compat.wandb.settings import Settings, resolved
from mlv.compat.wandb.starting import finish_all
from mlv.compat.wandb.sweeps.command import command_of
from mlv.compat.wandb.sweeps.folder import Claim, SweepFolder
from mlv.compat.wandb.sweeps.hyperband import EarlyTermination, bands_of
from mlv.compat.wandb.sweeps.search import Search, checked_config, goal_of, refuse_credentials
from mlv.compat.wandb.sweeps.trial import variables_of
from mlv.compat.wandb.terminal import termerror, termlog
from mlv.compat.wandb.values import plain_or_itself

_FLAPPING_S, _FLAPPING_FAILURES, _MOST_INITIAL_FAILURES = 60, 3, 5
_TERM_TIMEOUT_S = 30


def sweep(
    sweep: Mapping[str, Any] | Callable[[], Mapping[str, Any]],
    entity: str | None = None,
    project: str | None = None,
    prior_runs: list[str] | None = None,
) -> str:
    """Begin a sweep, and return its ID: a folder of plain files beside the experiments of its project.

    Args:
        sweep: Its config: `method`, `parameters`, `metric`, `early_terminate`, `run_cap`, `program`, `command`; or a function
            that returns it.
        entity: Who or what it belongs to.
        project: The project that its runs belong to.
        prior_runs: Refused here.

    Raises:
        UsageError: A field of the config cannot be served, or holds a credential.
        UnsupportedError: `prior_runs` are given.
        OSError: Nothing can be written into the folder of the project.
    """
    if prior_runs:
        limits.refuse("sweep(prior_runs=...)", "a sweep begins without runs, and mlv.find(folder) compares it with others")
    config = checked_config(plain_or_itself(sweep() if callable(sweep) else sweep))
    if config.get("early_terminate"):
        bands_of(config["early_terminate"])
    refuse_credentials(config)
    chosen = resolved(None)
    folder = _project_folder(chosen, project or config.get("project"))
    made = SweepFolder.made(folder, config, str(entity or config.get("entity") or chosen.entity or ""))
    print(f"Create sweep with ID: {made.id}")
    print(f"Sweep URL: {made.path.absolute().as_uri()}")
    return made.id


def agent(
    sweep_id: str,
    function: Callable[[], Any] | None = None,
    entity: str | None = None,  # noqa: ARG001 - of wandb
    project: str | None = None,
    count: int | None = None,
    forward_signals: bool = False,
    term_timeout: int | None = None,
    max_consecutive_failed_runs: int | None = None,
) -> None:
    """Try points of a sweep, one after the other, until there are no more; several agents may serve one sweep.

    A point whose agent was killed is tried again by the next agent that asks. A run that fails is reported, and the next one
    begins, unless the first three fail within a minute.

    Args:
        sweep_id: What `sweep` returned; `entity/project/` may stand in front.
        function: Called for each point: its `wandb.init` finds the config. Without it the program of the sweep is run.
        entity: Does nothing here.
        project: The project of the sweep; all projects are searched without it.
        count: Points to try at most.
        forward_signals: Whether SIGINT and SIGTERM are sent on to the program.
        term_timeout: Seconds that an interrupted program has to end before it is killed.
        max_consecutive_failed_runs: Failures in a row with which the agent ends.

    Raises:
        NotFound: There is no such sweep.
        UsageError: Its config cannot be read, or it has neither program nor function.
        MissingExtra: It needs Optuna, which is not installed.
    """
    words = sweep_id.strip("/").split("/")
    chosen = _sweep_folder(words[-1], project or (words[-2] if len(words) > 1 else None))
    if function is None:
        command_of(chosen.config, {}, None)  # before a point is claimed for it
    search, judge = Search(chosen), _Judge(max_consecutive_failed_runs)
    tried = 0
    while count is None or tried < count:
        claim = chosen.claim(search.propose)
        if claim is None:
            termlog(f"Sweep {chosen.id}: there is nothing left to try.")
            return
        tried += 1
        state = "interrupted"
        try:
            termlog(f"Agent Starting Run: {claim.point.run_id} with config:")
            for key, value in claim.point.config.items():
                termlog(f"\t{key}: {value}")
            state = _call(function, claim) if function is not None else _run(claim, forward_signals, term_timeout)
        except KeyboardInterrupt:
            termlog("Ctrl + C detected. Stopping sweep.")
            return
        finally:
            claim.release(_stopped_or(state, claim), _value_of(claim))
        if judge.ends(state):
            return


class _Judge:
    """Decides when runs fail so often that the agent ends."""

    def __init__(self, most_in_a_row: int | None) -> None:
        if most_in_a_row is not None and (isinstance(most_in_a_row, bool) or not isinstance(most_in_a_row, int)):
            raise TypeError("max_consecutive_failed_runs must be an integer or None")
        if most_in_a_row is not None and most_in_a_row < 1:
            raise ValueError("max_consecutive_failed_runs must be at least 1")
        self._most_in_a_row = most_in_a_row
        self._began = monotonic()
        self._tried = self._failed = self._in_a_row = 0

    def ends(self, state: str) -> bool:
        """Return whether the agent ends behind a run."""
        self._tried += 1
        if state != "failed":
            self._in_a_row = 0
            return False
        self._failed += 1
        self._in_a_row += 1
        if self._most_in_a_row is not None and self._in_a_row >= self._most_in_a_row:
            termerror(f"Detected {self._in_a_row} consecutive failed runs, killing sweep.")
            return True
        if os.environ.get("WANDB_AGENT_DISABLE_FLAPPING") == "true":
            return False
        if monotonic() - self._began < _FLAPPING_S and self._failed >= _FLAPPING_FAILURES:
            termerror(f"Detected {_FLAPPING_FAILURES} failed runs in the first {_FLAPPING_S} seconds, killing sweep.")
            termlog("To disable this check set WANDB_AGENT_DISABLE_FLAPPING=true")
            return True
        most = int(os.environ.get("WANDB_AGENT_MAX_INITIAL_FAILURES") or _MOST_INITIAL_FAILURES)
        if self._failed == self._tried and self._failed > most:
            termerror(f"Detected {most} failed runs in a row at start, killing sweep.")
            termlog("To change this value set WANDB_AGENT_MAX_INITIAL_FAILURES=val")
            return True
        return False


def _call(function: Callable[[], Any], claim: Claim) -> str:
    """Call the function for a point; return how that ended."""
    finish_all()
    with _variables(variables_of(claim)):
        try:
            function()
        except EarlyTermination:
            finish_all()
            return "stopped"
        except SystemExit as end:  # of a script that is called as a function: the next point is tried all the same
            finish_all(1 if end.code else 0)
            return "failed" if end.code else "finished"
        except Exception:  # of the user's code: the next point may do better
            traceback.print_exc()
            finish_all(1)
            termerror(f"Run {claim.point.run_id} errored.")
            return "failed"
        except BaseException:
            finish_all(1)
            raise
        finish_all()
    return "finished"


def _run(claim: Claim, forward_signals: bool, term_timeout: int | None) -> str:
    """Run the program for a point; return how that ended."""
    path = claim.path.with_suffix(".args")
    command = command_of(claim.sweep.config, claim.point.config, path)
    replaced = [name for name in os.environ.get("MLV_RUN_AS", "").split(",") if name]
    environment = {**environment_of(list(dict.fromkeys([*replaced, "wandb"])), os.environ), **variables_of(claim)}
    # A program whose agent is killed goes on: as long as it does, it holds the point.
    fds = () if claim.lock is None or os.name == "nt" else (claim.lock.fd,)
    try:
        process = subprocess.Popen(command, env=environment, pass_fds=fds)
    except OSError as error:
        termerror(f"{command[0]} cannot be run: {error.strerror}")
        return "failed"
    try:
        with _forwarding(process) if forward_signals else nullcontext():
            status = process.wait()
    except BaseException:
        _end(process, _TERM_TIMEOUT_S if term_timeout is None else term_timeout)
        raise
    finally:
        path.unlink(missing_ok=True)
    if status:
        termerror(f"Run {claim.point.run_id} exited with status {status}.")
    return "failed" if status else "finished"


def _end(process: subprocess.Popen[bytes], timeout_s: float) -> None:
    """Have an interrupted program end: it got the signal itself, and is killed if that is not enough."""
    try:
        process.wait(timeout_s)
    except subprocess.TimeoutExpired:
        process.terminate()
        with suppress(subprocess.TimeoutExpired):
            process.wait(timeout_s)
        process.kill()
        process.wait()


@contextmanager
def _forwarding(process: subprocess.Popen[bytes]) -> Iterator[None]:
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    numbers = (signal.SIGINT, signal.SIGTERM)
    before = [signal.signal(number, lambda got, _: process.send_signal(got)) for number in numbers]
    try:
        yield
    finally:
        for number, handler in zip(numbers, before, strict=True):
            signal.signal(number, handler)


@contextmanager
def _variables(values: Mapping[str, str]) -> Iterator[None]:
    before = {name: os.environ.get(name) for name in values}
    os.environ.update(values)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


def _stopped_or(state: str, claim: Claim) -> str:
    """Return `stopped` for a run that the sweep ended early, and else how it ended."""
    mark = claim.path.with_suffix(".stopped")
    if not mark.exists():
        return state
    mark.unlink(missing_ok=True)
    return "stopped"


def _value_of(claim: Claim) -> float | None:
    """Return the best value of the sweep's metric that the run of a point logged; None without one."""
    name, goal = goal_of(claim.sweep.config)
    path = folders.with_id(claim.sweep.project, claim.point.run_id)
    if name is None or path is None:
        return None
    try:
        summary = Exp.open(path).summary()
    except MlvError as error:  # of an experiment that was moved or damaged: the point has ended all the same
        termerror(f"Run {claim.point.run_id} cannot be read: {error}")
        return None
    metric = summary.get(name) or summary.get(name.replace(".", "/"))
    value = None if metric is None else metric.min if goal == "minimize" else metric.max
    return value if value is not None and value == value and abs(value) != float("inf") else None


def _project_folder(chosen: Settings, project: str | None) -> Path:
    return folders.project_folder(chosen.root_dir, project or chosen.project or folders.default_project())


def _sweep_folder(sweep_id: str, project: str | None) -> SweepFolder:
    """Return the sweep of an ID: of a project, or of any.

    Raises:
        NotFound: There is none.
    """
    chosen = resolved(None)
    root = folders.project_folder(chosen.root_dir, "p").parent
    if project is not None:
        return SweepFolder.of_id(_project_folder(chosen, project), sweep_id)
    paths = sorted(root.glob(f"*/{folders.SWEEPS}"))
    path = next((path.parent for path in paths if sweep_id and (path / sweep_id).is_dir()), None)
    if path is None:
        raise NotFound(f"there is no sweep {sweep_id!r} below {root}: give what wandb.sweep(config) returned, and its project")
    return SweepFolder.of_id(path, sweep_id)
