"""Hugging Face Accelerate: `Tracker`, by itself or by the name `mlv` after `register()`."""

from __future__ import annotations

import os
import warnings
from collections.abc import Mapping, Sequence
from typing import Any

from mlv import Exp, MissingExtra
from mlv.integrations.connection import Connection, log_metrics
from mlv.integrations.derived import derived
from mlv.integrations.frameworks import framework

LEAST, BELOW = "1.0", "2"
"""Versions that are known to work."""


class AccelerateTracker:
    """The methods of `Tracker`: an experiment as a tracker of an `Accelerator`.

    `Accelerator(log_with=Tracker("runs", "loop"))` is all. The experiment is made on the main process by `init_trackers`, and
    its run ends with `end_training`.
    """

    name = "mlv"
    """The name under which `get_tracker` returns it."""
    requires_logging_directory = False
    main_process_only = True

    def __init__(
        self,
        savedir: str | os.PathLike[str] | None = None,
        name: str | None = None,
        params: Any = None,
        *,
        exp: Any = None,
        **options: Any,
    ) -> None:
        """Keep which experiment is meant; see `mlv.integrations.connection.Connection` for the arguments.

        Args:
            savedir: As in `mlv.Exp`.
            name: As in `mlv.Exp`.
            params: As in `mlv.Exp`; the configuration of `init_trackers` is added to them.
            exp: An experiment in place of these three, or its path.
            options: As in `mlv.Exp`, such as `tags`, `outputs` and `on_exists`.

        Raises:
            InvalidArgument: The arguments do not fit.
        """
        super().__init__()
        self._connection = Connection(exp, savedir, name, params, **options)
        self._step: int | None = None
        """The last step that was logged."""

    def start(self) -> None:
        """Make or open the experiment."""
        if self._is_main():
            _ = self._connection.exp

    @property
    def tracker(self) -> Exp:
        """The `Exp`."""
        return self._connection.exp

    @property
    def writer(self) -> TrackerWriter:
        """A writer with the calls of TensorBoard's, for scripts that log images by it."""
        return TrackerWriter(self._connection)

    def store_init_configuration(self, values: Any) -> None:
        """Add a configuration to the params, leniently: as `Exp.add_params(values, lenient=True)` does."""
        if self._is_main():
            self._connection.add_params(values)

    def log(self, values: Mapping[str, Any], step: int | None = None, **_: Any) -> None:
        """Log metrics at a step."""
        if self._is_main():
            if not self._connection.is_row_repeated(values, step, self):
                log_metrics(self._connection.log, values, step)
            self._step = step if step is not None else self._step

    def log_images(self, values: Mapping[str, Any], step: int | None = None, **_: Any) -> None:
        """Log images by name, each a list or an array of them."""
        if self._is_main():
            for key, images in values.items():
                self._connection.log.images(key, images, step=step)

    def log_table(
        self,
        table_name: str,
        columns: Sequence[str] | None = None,
        data: Any = None,
        dataframe: Any = None,
        step: int | None = None,
        **_: Any,
    ) -> None:
        """Log a table: a data frame, or rows with the names of their columns."""
        if self._is_main():
            table = data if dataframe is None else dataframe
            self._connection.log.table(table_name, table, step=step, columns=columns if dataframe is None else None)

    def finish(self) -> None:
        """End the run in the experiment, unless it was passed; a later use begins another one."""
        if self._is_main():
            self._connection.close()

    # On resume.

    def rewind(self, step: float) -> None:
        """Go on from a restored step: what was logged with a greater one is superseded."""
        if self._is_main():
            self._connection.rewind(step)

    def state_dict(self) -> dict[str, Any]:
        """Return the last step, for `accelerator.register_for_checkpointing(tracker)`."""
        return {"step": self._step}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Rewind to the step that the state was saved at."""
        if state.get("step") is not None:
            self._step = state["step"]
            self.rewind(state["step"])

    def _is_main(self) -> bool:
        from accelerate.state import PartialState, is_initialized  # there is an Accelerator, or there was a Tracker

        # Before an Accelerator is made, to ask for the rank would set up the process group too early.
        return bool(PartialState().is_main_process) if is_initialized() else os.environ.get("RANK", "0") == "0"


class TrackerWriter:
    """The calls of TensorBoard's SummaryWriter that training scripts make by a tracker, into the log of an experiment."""

    def __init__(self, connection: Connection) -> None:
        """Keep the connection. Not called by users: `tracker.writer` gives one."""
        self._connection = connection

    def add_scalar(self, tag: str, scalar_value: Any, global_step: int | None = None, *_: Any, **__: Any) -> None:
        """Log a number."""
        self._connection.log.metric(tag, scalar_value, step=global_step)

    def add_scalars(self, main_tag: str, tag_scalar_dict: Mapping[str, Any], global_step: int | None = None, *_: Any) -> None:
        """Log numbers below a common name."""
        self._connection.log.metrics({main_tag: tag_scalar_dict}, step=global_step)

    def add_text(self, tag: str, text_string: str, global_step: int | None = None, *_: Any, **__: Any) -> None:
        """Log a text."""
        self._connection.log.text(tag, text_string, step=global_step)

    def add_image(
        self, tag: str, img_tensor: Any, global_step: int | None = None, walltime: Any = None, dataformats: str = "CHW"
    ) -> None:
        """Log an image."""
        self._connection.log.image(tag, img_tensor, step=global_step, layout=dataformats)

    def add_images(
        self, tag: str, img_tensor: Any, global_step: int | None = None, walltime: Any = None, dataformats: str = "NCHW"
    ) -> None:
        """Log images together."""
        self._connection.log.images(tag, img_tensor, step=global_step, layout=dataformats)

    def add_figure(self, tag: str, figure: Any, global_step: int | None = None, close: bool = True, *_: Any) -> None:
        """Log a figure of matplotlib."""
        self._connection.log.figure(tag, figure, step=global_step, close=close)

    def flush(self) -> None:
        """Do nothing: what is logged is written already."""

    def close(self) -> None:
        """Do nothing: the tracker ends the run."""


def register(name: str = "mlv") -> None:
    """Have `Accelerator(log_with="mlv")` make a `Tracker`, whose experiment has the project's name.

    Args:
        name: Under which the tracker is found. As `tensorboard` it takes the place of Accelerate's own: scripts that log images
            to that tracker alone log them here, by its `writer`. Accelerate takes the name where tensorboard is installed.

    Raises:
        MissingExtra: Accelerate is not installed, or takes no tracker by name.
    """
    tracking = framework("accelerate.tracking", least=LEAST, below=BELOW)
    if not hasattr(tracking, "register_tracker_class"):
        text = (
            "this version of accelerate takes no tracker by name: pass log_with=Tracker(...), or pip install 'accelerate>=1.15'"
        )
        raise MissingExtra(text, package="accelerate", extra=None)
    members = {"name": name, "__init__": _init_by_project, "__module__": __name__}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that the name is taken, by Accelerate's own tracker or by an earlier call
        tracking.register_tracker_class(type("ProjectTracker", (__getattr__("Tracker"),), members))


def _init_by_project(tracker: Any, project_name: str, savedir: Any = None, **options: Any) -> None:
    """Make a tracker as Accelerate does: with the name of the project, and `init_kwargs`."""
    __getattr__("Tracker").__init__(tracker, savedir, **options)
    tracker._connection.suggest_name(project_name)


def __getattr__(name: str) -> Any:
    if name != "Tracker":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    if name not in globals():
        tracking = framework("accelerate.tracking", least=LEAST, below=BELOW)
        globals()[name] = derived(name, AccelerateTracker, tracking.GeneralTracker)
    return globals()[name]
