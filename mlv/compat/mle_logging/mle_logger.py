"""The logger: columns of time and statistics, models, figures and other objects, in the files of mle-logging."""

from __future__ import annotations

import math
import os
import weakref
from collections.abc import Mapping
from pathlib import Path
from threading import RLock
from typing import Any

import mlv
from mlv.compat.mle_logging import experiments, originals, printing
from mlv.compat.mle_logging.configs import copy_config, load_config, write_config
from mlv.compat.mle_logging.names import as_params, column_name, folder_of, seed_name
from mlv.compat.mle_logging.recorder import Recorder
from mlv.compat.mle_logging.records import META, coordinates, plain
from mlv.compat.mle_logging.save import tboard_log
from mlv.compat.mle_logging.save.extra_log import ExtraLog
from mlv.compat.mle_logging.save.figure_log import FigureLog
from mlv.compat.mle_logging.save.model_log import ModelLog
from mlv.compat.mle_logging.save.stats_log import StatsLog
from mlv.compat.mle_logging.save.wandb_log import WandbLog
from mlv.compat.mle_logging.seats import Seat
from mlv.compat.mle_logging.seed_file import SeedFile
from mlv.compat.mle_logging.utils import comms
from mlv.compat.room import put_away, room_in
from mlv.compat.telling import warn

_SAVE_WITHIN_S = 30.0


class MLELogger:
    """Logs into `<experiment_dir>/logs/log_<seed>.hdf5`, and into the experiment `.mlv-experiments/<seed>` of that folder.

    Every update outlives the process when the call returns, saved or not; `save()` waits until it is in the file as well.
    The default folder is the current one, not the root of the file system. Where another process logs the same seed in the
    same folder, this one logs as `<seed>_rank_<n>`; files of an earlier run of the seed move to `.mlv-experiments/.replaced`.
    """

    def __init__(
        self,
        experiment_dir: str = "/",
        time_to_track: list[str] = [],  # noqa: B006 - as the original says it; it stays empty
        what_to_track: list[str] = [],  # noqa: B006
        time_to_print: list[str] | None = None,
        what_to_print: list[str] | None = None,
        config_fname: str | None = None,
        config_dict: dict[str, Any] | None = None,
        seed_id: str | int = "no_seed_provided",
        overwrite: bool = False,
        use_tboard: bool = False,
        use_wandb: bool = False,
        wandb_config: dict[str, Any] | None = None,
        log_every_j_steps: int | None = None,
        print_every_k_updates: int | None = 1,
        model_type: str = "no-model-type",
        ckpt_time_to_track: str | None = None,
        save_every_k_ckpt: int | None = None,
        save_top_k_ckpt: int | None = None,
        top_k_metric_name: str | None = None,
        top_k_minimize_metric: bool | None = None,
        reload: bool = False,
        verbose: bool = False,
    ) -> None:
        """Begin to log, or with `reload` go on where the last logger of this seed ended.

        Args:
            experiment_dir: Where everything goes; with `config_fname` into a folder of its name there.
            time_to_track: Time variables; the first of them is the step of the events, and of TensorBoard.
            what_to_track: Statistics; names that come later are added.
            time_to_print: Time variables that `verbose` shows; None shows all.
            what_to_print: Statistics that it shows; None shows all.
            config_fname: A YAML or JSON file, which is copied.
            config_dict: A configuration instead, which is written as YAML.
            seed_id: A number `n` is called `seed_<n>`.
            overwrite: Move earlier files of this seed at once to `.mlv-experiments/.replaced`.
            use_tboard: Show everything in TensorBoard as well.
            use_wandb: Send everything to Weights & Biases as well, with the settings of `wandb_config`.
            wandb_config: With `key`, `entity`, `project`, `group`, and `name` where the seed is not to be the name.
            log_every_j_steps: Every how many steps `ready_to_log` is true.
            print_every_k_updates: Every how many updates `verbose` prints.
            model_type: torch, tensorflow, jax, sklearn or numpy.
            ckpt_time_to_track: The time variable that is kept with checkpoints.
            save_every_k_ckpt: Keep each k-th of the models.
            save_top_k_ckpt: Keep the best k of the models, by the statistic `top_k_metric_name`.
            top_k_metric_name: See above.
            top_k_minimize_metric: Whether a small value of it is a good one.
            reload: Go on with earlier files; where there are none, begin.
            verbose: Print with rich.

        Raises:
            AssertionError: The type of model is unknown, or an option that a portfolio needs is missing.
            MissingExtra: A package is not installed.
            SavedirUnusable: Nothing can be made in the folder.
        """
        self.use_tboard, self.use_wandb = use_tboard, use_wandb
        self.log_every_j_steps, self.print_every_k_updates = log_every_j_steps, print_every_k_updates
        self.log_save_counter = self.log_setup_counter = int(reload)
        self.config_fname = config_fname
        self.config_dict = load_config(config_fname) if config_fname is not None else config_dict if config_dict else {}
        self.verbose, self.print_counter = verbose, 0
        self.time_to_print, self.what_to_print = time_to_print, what_to_print
        self.base_str = os.path.basename(config_fname).split(".")[0] if config_fname is not None else ""
        self.experiment_dir = folder_of(os.fspath(experiment_dir), self.base_str, reload)
        self._root, self._lock, self._has_begun = os.getcwd(), RLock(), False
        self._recorder, self._first_tracked = Recorder(self._root), next(iter(time_to_track), None)
        self._seat = self._take_seat(seed_name(seed_id))
        weakref.finalize(self, self._seat.release)
        self.seed_id = self._seat.seed_id
        logs = os.path.join(self.experiment_dir, "logs/")
        self.log_save_fname = os.path.join(logs, f"log_{self.seed_id}.hdf5")
        self.config_copy = self._config_path()
        self.stats_log = StatsLog(time_to_track, what_to_track)
        self.model_log = ModelLog(
            self.experiment_dir, self.seed_id, model_type, ckpt_time_to_track, save_every_k_ckpt, save_top_k_ckpt,
            top_k_metric_name, top_k_minimize_metric, self._root, self._recorder.say_model,
        )  # fmt: skip
        self.figure_log = FigureLog(self.experiment_dir, self.seed_id, self._root, self._recorder.say_file)
        self.extra_log = ExtraLog(self.experiment_dir, self.seed_id, self._root, self._recorder.say_file)
        if not reload:
            self._make_room(overwrite)
        self.exp = self._recorder.exp = self._experiment(reload)
        self.wandb_log = WandbLog(self.config_dict, config_fname, self.seed_id, wandb_config) if use_wandb else None
        experiments.live.add(self)
        if verbose:
            printing.show_start(self, time_to_track, what_to_track, seed_id, reload)

    # Logging.

    def update(
        self,
        clock_tick: dict[str, Any],
        stats_tick: dict[str, Any],
        model: Any = None,
        plot_fig: Any = None,
        extra_obj: Any = None,
        grads: Any = None,
        save: bool = False,
    ) -> None:
        """Append a row, and save the model, figure and object that come with it; neither mapping is changed.

        Values may be of any kind: numbers of any library, NaN, vectors, text, None.
        """
        with self._lock:
            self._begin()
            stats = {column_name(name): plain(value) for name, value in stats_tick.items()}
            clock = self.stats_log.tick({column_name(name): plain(value) for name, value in clock_tick.items()})
            step = self._step(clock)
            self.exp.log.at(**coordinates(clock))(stats, step=step)
            row = self.stats_log.add(clock, stats)
            if self.use_tboard:
                tboard_log.show(self.exp.log, stats, self.model_log.model_type, model, grads, plot_fig, step=step)
            if self.wandb_log is not None:
                self.wandb_log.update(row, stats, self.model_log.model_type, model, grads, plot_fig)
            if model is not None:
                self.save_model(model)
            if plot_fig is not None:
                self.save_plot(plot_fig)
            if extra_obj is not None:
                self.save_extra(extra_obj)
            if save:
                self.save()
            if self.verbose and printing.is_due(self):
                printing.show_row(self, row, stats, model is not None, plot_fig is not None, extra_obj is not None)

    def save(self) -> None:
        """Return when everything is in the log file; the log itself is on the disk then.

        After 30 seconds, or where the file cannot be written, it warns.
        """
        with self._lock:
            self._begin()
            self.log_save_counter += 1
            if not self.exp.flush(_SAVE_WITHIN_S, outputs=True):
                text = f"{self.log_save_fname} does not hold everything yet; {self.exp.path / 'log.jsonl'} does"
                warn(text, mlv.OutputFailed)
                self.exp.flush()  # it says why an output stopped

    def save_model(self, model: Any) -> None:
        """Save a model as the final one, and where it is due in `every_k` and `top_k`.

        Raises:
            ValueError: The logger was made without a model type.
        """
        with self._lock:
            self._begin()
            self.model_log.save(model, self.stats_log.clock_tracked, self.stats_log.stats_tracked)

    def save_init_model(self, model: Any) -> None:
        """Save a model as the one that training began with.

        Raises:
            ValueError: As `save_model`.
        """
        with self._lock:
            self._begin()
            self.model_log.save_init_model(model)

    def save_plot(self, fig: Any, fig_fname: str | None = None) -> None:
        """Save a figure as `figures/fig_<n>_<seed>.png`, or under a name of its own there."""
        with self._lock:
            self._begin()
            self.figure_log.save_figure(fig, fig_fname)

    def save_extra(self, obj: Any, obj_fname: str | None = None) -> None:
        """Save an object as `extra/extra_<n>_<seed>.pkl`, or under a name of its own there."""
        with self._lock:
            self._begin()
            self.extra_log.save_object(obj, obj_fname)

    def extend_tracking(self, add_track_vars: list[str]) -> None:
        """Add names of statistics."""
        with self._lock:
            self.stats_log.extend_tracking(add_track_vars)

    def ready_to_log(self, update_counter: int) -> bool:
        """Return whether a step is to be logged: the first, and each `log_every_j_steps`-th.

        Raises:
            AssertionError: `log_every_j_steps` was not given.
        """
        assert self.log_every_j_steps is not None, "Provide `log_every_j_steps` in your `log_config`"
        return (update_counter + 1) % self.log_every_j_steps == 0 or update_counter == 0

    @property
    def folder(self) -> Path:
        """The experiment_dir, absolute."""
        return Path(os.path.abspath(os.path.join(self._root, self.experiment_dir)))

    def flush(self) -> None:
        """Bring everything to the files, where anything was logged."""
        if self._has_begun:
            self.exp.flush(_SAVE_WITHIN_S, outputs=True)

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in self.__dict__.items() if name != "_lock"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state, _lock=RLock())
        experiments.live.add(self)

    # Beginning.

    def _take_seat(self, seed_id: str) -> Seat:
        seat = Seat(room_in(self.folder), seed_id)
        if seat.seed_id != seed_id:
            text = f"another process logs seed {seed_id!r} in {self.experiment_dir}: this one logs as {seat.seed_id!r}"
            warn(text)
        return seat

    def _experiment(self, reload: bool) -> mlv.Exp:
        """Return the experiment to log into: with `reload` the latest of this seed, or one made from a file of the original."""
        outputs = self._outputs()
        existing = experiments.latest(self.folder).get(self.seed_id) if reload else None
        if existing is not None:
            exp = mlv.Exp.open(existing, outputs=outputs)
            self._restore(exp)
            return exp
        old = originals.columns_of(self.folder / "logs", self.seed_id) if reload else None
        exp = mlv.Exp(
            room_in(self.folder), self.seed_id, as_params(self.config_dict),
            tags=(experiments.TAG, self.seed_id), outputs=outputs,
        )  # fmt: skip
        if old is not None:
            originals.log_columns(exp, old)
            self._restore(exp)
        return exp

    def _outputs(self) -> list[Any]:
        file = SeedFile(seed_id=self.seed_id, path=self.folder / "logs")
        if not self.use_tboard:
            return [file]
        return [file, tboard_log.SeedBoard(path=os.path.join(self._root, self._board()))]

    def _board(self) -> str:
        return self._path("tboards", f"tboard_{self.seed_id}")

    def _path(self, *names: str) -> str:
        return os.path.join(self.experiment_dir, *names)

    def _restore(self, exp: mlv.Exp) -> None:
        earlier = experiments.restored(exp)
        self.stats_log.restore(earlier.time, earlier.stats)
        self.model_log.restore(earlier.meta, earlier.models)
        self.figure_log.restore(earlier.meta.get("fig_storage_paths", []))
        self.extra_log.restore(earlier.meta.get("extra_storage_paths", []))

    def _make_room(self, overwrite: bool) -> None:
        """Move earlier files away; without `overwrite`, the log file itself is moved only when the first row comes."""
        rooms = {"log": self.log_save_fname, "aggregated log": self._path("logs", "log.hdf5")} if overwrite else {}
        rooms |= {"tboards": self._board()} if self.use_tboard else {}
        for title, path in rooms.items():
            target = Path(self._root, path)
            if target.exists():
                if overwrite:
                    comms.print_overwriting(title)
                put_away(target, room_in(self.folder))

    def _config_path(self) -> str:
        if self.config_fname is None:
            return self._path("config_dict.yaml")
        return self._path(self.base_str + os.path.splitext(self.config_fname)[1])

    def _begin(self) -> None:
        """Copy the configuration and log the meta, before the first record."""
        if self._has_begun:
            return
        target = os.path.join(self._root, self.config_copy)
        if self.config_fname is not None:
            copy_config(os.path.join(self._root, self.config_fname), target)
        else:
            write_config(self.config_dict, target)
        self.exp.log(META, {key: [value] for key, value in self._meta().items()})
        self._has_begun = True
        self.log_setup_counter += 1

    def _meta(self) -> dict[str, str]:
        model_log = self.model_log
        meta = {
            "log_paths": self.log_save_fname,
            "experiment_dir": self.experiment_dir,
            "config_fname": self.config_copy,
            "eval_id": self.base_str,
            "model_type": model_log.model_type,
            "config_dict": str(self.config_dict),
        }
        if model_log.save_top_k_ckpt or model_log.save_every_k_ckpt:
            meta["ckpt_time_to_track"] = str(model_log.ckpt_time_to_track)
        if model_log.save_top_k_ckpt:
            meta["top_k_metric_name"] = str(model_log.top_k_metric_name)
        return meta

    def _step(self, clock: Mapping[str, Any]) -> float:
        """Return the first of the time variables that the user tracks, where it is a number; else the number of the update."""
        value = clock.get(self._first_tracked or "")
        if isinstance(value, (int, float)) and math.isfinite(value):
            return value
        return self.stats_log.stats_update_counter


def _after_fork_in_child() -> None:
    for logger in list(experiments.live):  # another thread of the parent may have held the lock
        logger._lock = RLock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork_in_child)
