"""helios' TensorBoard writer: metrics and media as events, and event files as an output."""

from __future__ import annotations

import copy
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mlv import Logger
from mlv.compat.helios.core.outputs import HPARAMS, SCALARS, EventFiles
from mlv.compat.helios.core.runs import HeliosRun, global_rank
from mlv.compat.scalars import number_in

_COLUMNS = 8


class TensorboardWriterBase:
    """Logs for TensorBoard on rank 0; before `setup`, after `close` and on other ranks every call does nothing."""

    def __init__(self) -> None:
        EventFiles()  # says at once which package is missing
        self._rank = global_rank()
        self._run: HeliosRun | None = None
        self._log: Logger | None = None
        self._scalars: Logger | None = None

    @property
    def run_path(self) -> Path:
        """The path of the run's folder.

        Raises:
            AssertionError: There is none: before `setup`, or on another rank than 0.
        """
        if self._run is None or self._run.run_path is None:
            raise AssertionError("the TensorboardWriter has no run_path: setup() gives it one, on rank 0")
        return self._run.run_path

    def add_scalar(self, tag: str, scalar_value: Any, global_step: int | None = None) -> None:
        """Add a number; a text and a tensor count as the number that they hold."""
        if self._log is not None:
            self._log({tag: number_in(scalar_value)}, step=global_step)

    def add_scalars(self, main_tag: str, tag_scalar_dict: Mapping[str, Any], global_step: int | None = None) -> None:
        """Add numbers that are shown together: each in a folder `<main_tag>_<tag>` of its own."""
        if self._scalars is not None:
            named = {f"{main_tag}/{str(tag).replace('/', '_')}": number_in(value) for tag, value in tag_scalar_dict.items()}
            self._scalars(named, step=global_step)

    def add_image(self, tag: str, img_tensor: Any, global_step: int | None = None, dataformats: str = "CHW") -> None:
        """Add an image; with an N in `dataformats` several, as a grid."""
        if self._log is not None:
            self._log.image(tag, _picture(img_tensor, dataformats), step=global_step)

    def add_images(self, tag: str, img_tensor: Any, global_step: int | None = None, dataformats: str = "NCHW") -> None:
        """Add a batch of images, as a grid."""
        self.add_image(tag, img_tensor, global_step, dataformats)

    def add_figure(self, tag: str, figure: Any, global_step: int | None = None, close: bool = True) -> None:
        """Add a figure of matplotlib, or a list of them as a grid."""
        if self._log is None:
            return
        drawn = _drawn(figure) if isinstance(figure, list) else None
        if drawn is None:
            self._log.figure(tag, figure, step=global_step, close=close)
        else:
            self._log.image(tag, drawn, step=global_step)
            if close:
                _close(figure)

    def add_text(self, tag: str, text_string: str, global_step: int | None = None) -> None:
        """Add a text."""
        if self._log is not None:
            self._log.text(tag, text_string, step=global_step, markdown=True)

    def add_graph(self, model: Any, input_to_model: Any = None, verbose: bool = False, use_strict_trace: bool = True) -> None:
        """Add the graph of a module, traced as a copy on the CPU."""
        if self._log is not None:
            self._log.graph("graph", *_on_cpu(model, input_to_model))

    def add_pr_curve(
        self, tag: str, labels: Any, predictions: Any, global_step: int | None = None, num_thresholds: int = 127
    ) -> None:
        """Add precision and recall over thresholds."""
        if self._log is not None:
            self._log.pr_curve(tag, labels, predictions, step=global_step, thresholds=num_thresholds)

    def add_hparams(
        self,
        hparam_dict: Mapping[str, Any],
        metric_dict: Mapping[str, Any],
        hparam_domain_discrete: Mapping[str, list[Any]] | None = None,
        run_name: str | None = None,
        global_step: int | None = None,
    ) -> None:
        """Add hyperparameters and their metrics, in the run's folder, or in its subfolder `run_name`."""
        if self._log is not None:
            data = {
                "hparams": _numbers_in(hparam_dict, texts=False),
                "metrics": _numbers_in(metric_dict),
                "domain": hparam_domain_discrete,
                "run_name": run_name,
            }
            self._log(HPARAMS, {key: value for key, value in data.items() if value is not None}, step=global_step)

    def flush(self) -> None:
        """Return when the event files hold everything that was logged."""
        if self._run is not None:
            self._run.exp.flush(outputs=True)

    def close(self) -> None:
        """End the run with its last logger."""
        self._log = self._scalars = None
        if self._run is not None:
            run, self._run = self._run, None
            run.release()

    def attach(self, run: HeliosRun | None) -> None:
        """Log into a run, on rank 0."""
        if run is not None and run.run_path is not None and self._rank == 0:
            if self._run is not None:
                self._run.release()
            self._run = run.hold()
            self._log, self._scalars = run.exp.log, run.exp.log.sub(SCALARS)


def _numbers_in(values: Any, *, texts: bool = True) -> Any:
    return {key: number_in(value, texts=texts) for key, value in values.items()} if isinstance(values, Mapping) else values


def _picture(value: Any, formats: str) -> Any:
    """Return an image of shape HWC or HW; a value without such a form is passed on, to be rejected with the reason."""
    try:
        import numpy

        array = numpy.asarray(value.detach().cpu() if hasattr(value, "detach") else value)
        letters = formats.upper()
        order = [letter for letter in "NHWC" if letter in letters]
        array = array.transpose([letters.index(letter) for letter in order])
        return _grid(array) if "N" in letters else array
    except Exception:
        return value


def _grid(images: Any) -> Any:
    """Return images side by side, eight in a row."""
    import numpy

    number, height, width = images.shape[:3]
    columns = min(number, _COLUMNS)
    grid = numpy.zeros((height * math.ceil(number / columns), width * columns, *images.shape[3:]), images.dtype)
    for index, image in enumerate(images):
        y, x = divmod(index, columns)
        grid[y * height : (y + 1) * height, x * width : (x + 1) * width] = image
    return grid


def _drawn(figures: list[Any]) -> Any:
    """Return figures of one size as a grid; None for others."""
    try:
        import numpy
        from matplotlib.backends.backend_agg import FigureCanvasAgg

        canvases = [FigureCanvasAgg(figure) for figure in figures]
        for canvas in canvases:
            canvas.draw()
        return _grid(numpy.stack([numpy.asarray(canvas.buffer_rgba())[..., :3] for canvas in canvases]))
    except Exception:
        return None


def _close(figures: list[Any]) -> None:
    from matplotlib import pyplot

    for figure in figures:
        pyplot.close(figure)


def _on_cpu(model: Any, example: Any) -> tuple[Any, Any]:
    """Return copies of a module and of its inputs on the CPU; where they cannot be copied, the originals."""
    try:
        inputs = [tensor.cpu() for tensor in example] if isinstance(example, (list, tuple)) else example.cpu()
        return copy.deepcopy(model).cpu(), inputs
    except Exception:
        return model, example
