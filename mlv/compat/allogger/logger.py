"""Loggers in a hierarchy of scopes, and the functions with which a script begins and ends."""

from __future__ import annotations

import inspect
import logging
import warnings
from collections.abc import Mapping
from contextlib import ExitStack
from multiprocessing import current_process
from typing import Any

import mlv
from mlv.compat.allogger import kinds
from mlv.compat.allogger.custom import GROUP, OwnWriterOptions, checked_writers, outputs_of
from mlv.compat.allogger.existing import settle
from mlv.compat.allogger.hub import hub
from mlv.compat.allogger.messages import ConsoleHandler, TextLog, python_logger
from mlv.compat.allogger.place import LogdirExperiment
from mlv.compat.allogger.settings import HDFOptions, MessageOptions, Settings, TensorBoardOptions, checked_outputs
from mlv.compat.allogger.steps import Manager, Steps

_MAIN = "MainProcess"


class Logger:
    """Logs values under keys below its scope; it inherits missing settings from the nearest logger above it.

    Every value is an event of the experiment in the logdir, independent of filters and outputs.
    """

    def __init__(self, scope: str) -> None:
        """Prepare the logger of a scope; users call `get_logger` and `get_root` instead."""
        self._scope = scope
        self.settings = Settings()
        self.experiment: LogdirExperiment | None = None
        self.is_configured = False
        self.logger = python_logger(scope)
        self._handlers = ExitStack()
        self._writers: dict[str, OwnWriterOptions] | None = None

    def configure(
        self,
        logdir: str | None = None,
        default_outputs: list[str] | None = None,
        hdf_writer_params: dict[str, Any] | None = None,
        tensorboard_writer_params: dict[str, Any] | None = None,
        log_only_main_process: bool = False,
        file_writer_params: dict[str, Any] | None = None,
        debug: bool = False,
        default_path_exists: str = "c",
        basic_logging_params: dict[str, Any] | None = None,
    ) -> None:
        """Set the logdir and the outputs; an earlier logdir is closed.

        Args:
            logdir: A folder for an experiment, `events/` with the outputs, and the text log.
            default_outputs: Of `valid_outputs`, and of the names of writers (`configure_with`).
            hdf_writer_params: `filter`, a regular expression over keys; `min_time_diff_btw_disc_writes`, `precision`.
            tensorboard_writer_params: `filter`; `use_hdf_hook`, whether HDF5 gets the same; `min_time_diff_btw_disc_writes`.
            log_only_main_process: Whether values that children log are left out.
            file_writer_params: Without effect, as in the original.
            debug: Without effect: errors are reported in any case.
            default_path_exists: If the logdir is there: `c` continues, `cl` clears it, `a` aborts, `ask` asks.
            basic_logging_params: `level` of the console; `formatter`, arguments of `logging.Formatter`.

        Raises:
            ValueError: There is no such output, a filter is no regular expression, or writers have no logdir.
            RuntimeError: The logdir may not be cleared, or there is nobody to ask.
            MissingExtra: An output needs a package that is not installed.
        """
        own, self._writers = self._writers, None
        if own and logdir is None and self._scope != "root":
            raise ValueError("writers belong to a logdir: give logdir= as well")
        settings = Settings(
            None if logdir is None else str(logdir),
            checked_outputs(default_outputs, own or self._inherited("writers") or ()),
            None if hdf_writer_params is None else HDFOptions(**hdf_writer_params),
            None if tensorboard_writer_params is None else TensorBoardOptions(**tensorboard_writer_params),
            log_only_main_process,
            debug,
            None if basic_logging_params is None else MessageOptions(**basic_logging_params),
            own,
        )
        self.close()
        if self._scope == "root":
            hub.steps.discard()
            hub.steps = Steps()
        self.settings, self.is_configured = settings, True
        if settings.logdir is not None and hub.is_enabled:
            settle(settings.logdir, default_path_exists)
            outputs = self.default_outputs or []
            also = outputs_of(self._scope, settings.logdir, self._inherited("writers") or {}, outputs, settings.debug)
            self.experiment = LogdirExperiment(settings.logdir, outputs, self._hooked(), also)
            hub.begin()
        self._show_messages()

    def configure_with(self, *args: Any, writers: Mapping[str, Any] | None = None, **kwargs: Any) -> None:
        """Configure like `configure`, with writers of the user's.

        Args:
            args: Those of `configure`.
            writers: Classes that also take the values, such as subclasses of `writers.AbstractWriter`, by the names of
                their outputs.
            kwargs: Those of `configure`, and `<name>_writer_params` for each writer: `filter`, and those of the class.

        Raises:
            TypeError: There is no such parameter.
            ValueError, RuntimeError, MlvError: As `configure`; or a writer cannot have its name, or travel.
        """
        parameters = inspect.signature(self.configure).parameters
        of_writers = {name: kwargs.pop(name) for name in list(kwargs) if name not in parameters}
        self._writers = checked_writers(writers or {}, of_writers)
        self.configure(*args, **kwargs)

    def restore(self, settings: Settings, experiment: LogdirExperiment | None) -> None:
        """Take over, in a child, the logger of this scope in the process that started it."""
        self.settings, self.experiment, self.is_configured = settings, experiment, True
        self._show_messages()

    def close(self) -> None:
        """End the logger in this process: everything is in the files, and no handler stays."""
        with ExitStack() as stack:
            stack.callback(self._handlers.pop_all().close)
            if self.experiment is not None:
                stack.callback(self.experiment.close)
            self.settings, self.experiment, self.is_configured = Settings(), None, False

    # Its settings.

    @property
    def scope(self) -> str:
        """Scope and process, such as `root.main-MainProcess`."""
        return f"{self._scope}-{current_process().name.replace('-', '')}"

    @property
    def parent(self) -> Logger:
        """The nearest logger above; the root is its own."""
        return hub.above(self._scope) or self

    @property
    def logdir(self) -> str | None:
        """The folder; inherited where the logger has none of its own."""
        logdir: str | None = self._inherited("logdir")
        return logdir

    @property
    def default_outputs(self) -> list[str] | None:
        """The outputs; inherited where the logger has none of its own."""
        outputs = self._inherited("default_outputs")
        return None if outputs is None else list(outputs)

    @property
    def log_only_main_process(self) -> bool:
        """Whether values of children are left out."""
        return bool(self._inherited("log_only_main_process"))

    @property
    def debug(self) -> bool:
        """The option `debug`."""
        return bool(self._inherited("debug"))

    @property
    def step_per_key(self) -> Steps:
        """The next step of each `(scope, key)`, of all processes: to read, to save and to set."""
        return hub.steps

    @step_per_key.setter
    def step_per_key(self, saved: Any) -> None:
        steps = dict(saved)
        hub.steps.clear()
        hub.steps.update(steps)

    @property
    def manager(self) -> Manager:
        """Makes mappings that `step_per_key` may be set to: `root.manager.dict(saved)`."""
        return Manager()

    def gen_key(self, key: str | None = None) -> str:
        """Return scope and key, such as `root.main/value`; beside the main process, the scope names the process."""
        scope = self.scope.removesuffix(f"-{_MAIN}")
        return f"{scope}/{key}" if key else scope

    # Logging.

    def log(
        self,
        data: Any,
        key: str | None = None,
        data_type: str | None = None,
        to_tensorboard: bool | None = None,
        to_stdout: bool | None = None,
        to_csv: bool | None = None,
        to_hdf: bool | None = None,
    ) -> None:
        """Log a value as the next step of its key.

        Args:
            data: A number is a scalar, one axis of numbers a histogram, three are an image (CHW, or HWC), other arrays stay
                arrays, a text is a text.
            key: Its name below the scope.
            data_type: `scalar`, `histogram`, `image`, `scalars` (numbers by name) or `array`, instead.
            to_tensorboard: Whether it goes to TensorBoard, instead of the default outputs.
            to_stdout: Whether it is printed as well.
            to_csv: There is no such output, unless a writer has that name.
            to_hdf: Whether it goes to HDF5, instead of the default outputs.

        Raises:
            ValueError: There is no key.
            NotImplementedError: There is no such type, or no such output.
        """
        if not hub.is_enabled or (self.log_only_main_process and current_process().name != _MAIN):
            return
        if to_csv and "csv" not in (self._inherited("writers") or ()):
            raise NotImplementedError("CSV writer not implemented")
        if key is None:
            raise ValueError(f"Logging a value of type {type(data).__name__} requires a valid key")
        if data_type is not None and data_type not in kinds.data_types:
            raise NotImplementedError(f"There is no type {data_type}: the types are {', '.join(kinds.data_types)}")
        experiment = self._current_experiment()
        if experiment is None:
            text = f"{self._scope} has no logdir, and nothing is logged: call basic_configure(logdir=...) first"
            warnings.warn(text, mlv.MlvWarning, stacklevel=2)
            return
        step, name = hub.steps.take((self.scope, str(key))), self.gen_key(str(key))
        kind, value = kinds.inferred(data) if data_type is None else (data_type, data)
        route = self._route(str(key), to_tensorboard, to_hdf) | self._own_route(str(key), to_csv, experiment)
        if to_stdout:
            print(f"{name} {step}: {data}")
        own = route & experiment.own
        if kind == "image":
            _put_image(experiment, route, name, value, step)
        elif kind == "scalars" and own:
            kinds.put(experiment.logger(route, "scalars").at(**{GROUP: name}), kind, name, value, step)
        else:
            kinds.put(experiment.logger(route - own if kind == "histogram" else route), kind, name, value, step)
            if kind == "histogram" and own:  # they get the values, of which an event of that type has only a picture
                kinds.put(experiment.logger(own, "histogram"), "array", name, value, step)

    def info(self, data: Any, level: int = logging.INFO) -> None:
        """Log a message: a line of the text log, and of the console from its level on."""
        if not hub.is_enabled:
            return
        self.logger.log(level, "%s", data)
        experiment = self._current_experiment()
        if experiment is not None:
            log = experiment.exp.log.sub(self.gen_key())
            say = next(
                (say for least, say in ((40, log.error), (30, log.warning), (20, log.info)) if level >= least), log.debug
            )
            say(data)

    def _inherited(self, name: str) -> Any:
        """Return a setting, inherited from the nearest configured logger above."""
        logger: Logger | None = self
        while logger is not None:
            setting = getattr(logger.settings, name)
            if setting is not None and setting is not False:
                return setting
            logger = hub.above(logger._scope)
        return None

    def _current_experiment(self) -> LogdirExperiment | None:
        """Return the experiment that it writes to, or that of the nearest logger above; None where there is none."""
        hub.join(Logger)
        logger: Logger | None = self
        while logger is not None:
            if logger.experiment is not None:
                return logger.experiment
            logger = hub.above(logger._scope)
        return None

    def _hooked(self) -> list[str]:
        writer = self._inherited("tensorboard") or TensorBoardOptions()
        return ["hdf"] if "tensorboard" in (self.default_outputs or ()) and writer.use_hdf_hook else []

    def _route(self, key: str, to_tensorboard: bool | None, to_hdf: bool | None) -> frozenset[str]:
        """Return the outputs that a value goes to."""
        outputs = self._inherited("default_outputs") or ()
        tensorboard = self._inherited("tensorboard") or TensorBoardOptions()
        hdf = self._inherited("hdf") or HDFOptions()
        wants_tensorboard = "tensorboard" in outputs if to_tensorboard is None else to_tensorboard
        wants_hdf = ("hdf" in outputs or (wants_tensorboard and tensorboard.use_hdf_hook)) if to_hdf is None else to_hdf
        route = []
        if wants_tensorboard and tensorboard.takes(key):
            route.append("tensorboard")
        if wants_hdf and hdf.takes(key):
            route.append("hdf")
        return frozenset(route)

    def _own_route(self, key: str, to_csv: bool | None, experiment: LogdirExperiment) -> frozenset[str]:
        """Return the writers of the user's that a value goes to."""
        if not experiment.own:
            return frozenset()
        outputs, writers = self._inherited("default_outputs") or (), self._inherited("writers") or {}
        explicit = {} if to_csv is None else {"csv": to_csv}
        selected = (name for name in experiment.own if explicit.get(name, name in outputs))
        return frozenset(name for name in selected if name not in writers or writers[name].takes(key))

    def _show_messages(self) -> None:
        messages = self._inherited("messages") or MessageOptions()
        self.logger.setLevel(logging.DEBUG)
        self._handlers.callback(self.logger.setLevel, logging.NOTSET)
        if self._scope == "root":
            if self.experiment is not None:
                self._handlers.callback(TextLog(self.experiment.text_log, messages).close)
            return
        console = ConsoleHandler(self._scope, messages)
        self.logger.addHandler(console)
        self._handlers.callback(self.logger.removeHandler, console)


def basic_configure(enable: bool = True, *args: Any, **kwargs: Any) -> None:
    """Configure the root logger, with the arguments of `Logger.configure` and of `Logger.configure_with`.

    With `enable=False`, nothing is logged until the next call, or `close()`.
    """
    hub.is_enabled = bool(enable)
    if not enable:
        warnings.warn("Logger is globally disabled. Nothing will be logged.", stacklevel=2)
        hub.begin()
    get_root().configure_with(*args, **kwargs)


def get_root() -> Logger:
    """Return the root of all loggers."""
    return hub.get("root", Logger)


def get_logger(scope: str, *args: Any, **kwargs: Any) -> Logger:
    """Return the logger of a scope: `main` and `root.main` are the same.

    It is configured when it is asked for first, with the arguments of `Logger.configure`; later ones are passed over.
    """
    with hub.lock:
        logger = hub.get(scope, Logger)
        if not logger.is_configured and (logger is not get_root() or args or kwargs):
            logger.configure_with(*args, **kwargs)
        return logger


def close() -> None:
    """Write everything and close all loggers; another `basic_configure` begins another session."""
    hub.close()


def _put_image(experiment: LogdirExperiment, route: frozenset[str], name: str, value: Any, step: int) -> None:
    """Log an image as a picture for TensorBoard, and as an array for other outputs, or where it is no picture."""
    is_picture, other_outputs = kinds.layout_of(value) is not None, route - {"tensorboard"}
    if is_picture and (not route or "tensorboard" in route):
        kinds.put_picture(experiment.logger(route & {"tensorboard"}), name, value, step)
    if not is_picture or other_outputs:
        kinds.put(experiment.logger(other_outputs, "image"), "array", name, value, step)
