"""The kinds of media: the registry of them, and the call of a Logger for each.

A new kind is a module here with `prepare` and `encode`, a line in `_REGISTRY` and a call in `MediaCalls`, a type in
`schemas/event.schema.json`, and rows in `schemas/values.md`, from which `tests/contracts/test_kinds.py` tests it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from importlib import import_module
from typing import TYPE_CHECKING, Any

from mlv.events import CORE_TYPES
from mlv.frozen import FrozenRecord
from mlv.never_raising import never_raising

if TYPE_CHECKING:
    from mlv.media.jobs import Prepared


class Kind(FrozenRecord):
    """One kind of media: the type of its events, the call of a Logger that leaves them, and the module here that makes them."""

    name: str
    """Of the type, of the call, and of the module whose `prepare` checks a value in the training process."""
    encoder: str | None = None
    """Module here whose `encode` completes the event in a worker; None is the kind's own."""
    extra: str | None = None
    """Extra of mlv whose packages the encoder prefers; `needed_package(options)` of the module names the one for an event."""
    is_value_kind: bool = True
    """Whether a value alone is enough to log it, so that `Logger.value` may choose it."""
    several: str | None = None
    """Call that logs several values as one event."""
    long_fields: tuple[str, ...] = ()
    """Fields of the data that are too long for a line of a terminal."""


_REGISTRY = (
    Kind("array"),
    Kind("audio"),
    Kind("figure", encoder="document"),
    Kind("graph", is_value_kind=False),
    Kind("histogram", long_fields=("counts", "edges")),
    Kind("image", extra="media", several="images", long_fields=("sizes", "captions", "boxes", "masks")),
    Kind("pr_curve", is_value_kind=False, long_fields=("thresholds", "precision", "recall", "tp", "fp", "tn", "fn")),
    Kind("table", long_fields=("rows",)),
    Kind("text", long_fields=("beginning",)),
    Kind("video", extra="media"),
)

KINDS = {kind.name: kind for kind in _REGISTRY}
"""Every kind of media, by its name."""

TYPES = CORE_TYPES | KINDS.keys()
"""Every type of event of format 1. Readers pass over types that they do not know, and keep them."""

VALUE_KINDS = frozenset(call for kind in _REGISTRY if kind.is_value_kind for call in (kind.name, kind.several) if call)
"""The calls that `value` may stand for."""

ENCODERS = {task: f"mlv.media.{task}" for task in ("references", *(kind.encoder or kind.name for kind in _REGISTRY))}
"""The module whose `encode(options, buffers, target)` completes a job, by the job's task."""


def _of(kind: str) -> Any:
    """Return the module of a kind, imported when it is first used: `import mlv` stays light."""
    return import_module(f"mlv.media.{kind}")


class MediaCalls:
    """The part of `Logger` that logs media.

    The files lie below `files/media/<name>/` of the experiment; each event's `data` refers to them with path, size and
    SHA-256. Encoding, hashing and moving happen beside the writer. What cannot be logged as it was said becomes a `rejected`
    event with the reason, and one warning.
    """

    __slots__ = ()

    @never_raising
    def image(
        self,
        name: str,
        value: Any,
        *,
        step: float | None = None,
        verbosity: int | None = None,
        caption: str | None = None,
        boxes: Any = None,
        masks: Mapping[str, Any] | None = None,
        layout: str | None = None,
    ) -> None:
        """Log an image: a line of type `image` and a PNG.

        Args:
            name: Below this logger.
            value: An array or tensor of shape HW, HWC or CHW with 1, 3 or 4 channels, of uint8, or float in 0..1; a PIL image;
                the path or the bytes of an image file, which is kept as it is.
            step: When it was.
            verbosity: As in a call of the logger.
            caption: A text for people.
            boxes: A list of `{"box": [x0, y0, x1, y1], "label": ..., "score": ...}`, in pixels.
            masks: Arrays of class numbers, of shape HW, by name; each becomes a PNG of its own.
            layout: Of an array, such as `CHW`, where its shape alone would be read otherwise.
        """
        self._media(
            "image",
            name,
            step,
            verbosity,
            lambda: _of("image").prepare(value, caption=caption, boxes=boxes, masks=masks, layout=layout),
        )

    @never_raising
    def images(
        self,
        name: str,
        values: Any,
        *,
        step: float | None = None,
        verbosity: int | None = None,
        captions: Sequence[str] | None = None,
        layout: str | None = None,
    ) -> None:
        """Log images together: one line of type `image` with `files`, and a PNG each.

        Args:
            name: Below this logger.
            values: An array of shape NHW, NHWC or NCHW, or a list of what `image` takes.
            step: When it was.
            verbosity: As in a call of the logger.
            captions: One for each.
            layout: Of an array, such as `NCHW`.
        """
        self._media("image", name, step, verbosity, lambda: _of("image").prepare_many(values, captions=captions, layout=layout))

    @never_raising
    def figure(
        self,
        name: str,
        value: Any,
        *,
        step: float | None = None,
        verbosity: int | None = None,
        format: str = "png",
        dpi: float | None = None,
        close: bool = False,
    ) -> None:
        """Log a figure: a line of type `figure` and a file of that format; a plotly figure becomes a page.

        Args:
            name: Below this logger.
            value: Anything with `savefig`, a plotly figure, or a list of them. It is drawn before the call returns.
            step: When it was.
            verbosity: As in a call of the logger.
            format: `png`, `svg` or `pdf`.
            dpi: Dots per inch.
            close: Close it afterwards.
        """
        self._media("figure", name, step, verbosity, lambda: _of("figure").prepare(value, format=format, dpi=dpi, close=close))

    @never_raising
    def audio(
        self,
        name: str,
        value: Any,
        rate: float | None = None,
        *,
        step: float | None = None,
        verbosity: int | None = None,
        caption: str | None = None,
    ) -> None:
        """Log sound: a line of type `audio` and a WAV file.

        Args:
            name: Below this logger.
            value: Samples, of shape (samples,) or (samples, channels), of float in -1..1 or integers; or the path or the
                bytes of a sound file, which is kept as it is.
            rate: Samples a second.
            step: When it was.
            verbosity: As in a call of the logger.
            caption: A text for people.
        """
        self._media("audio", name, step, verbosity, lambda: _of("audio").prepare(value, rate, caption=caption))

    @never_raising
    def video(
        self,
        name: str,
        value: Any,
        *,
        step: float | None = None,
        verbosity: int | None = None,
        fps: float = 24,
        format: str = "mp4",
        caption: str | None = None,
    ) -> None:
        """Log a video: a line of type `video` and a file of that format (needs the extra `media`).

        Args:
            name: Below this logger.
            value: Frames of shape THW, THWC or TCHW, of uint8, or float in 0..1, or a list of frames; or the path or the bytes
                of a video file, which is kept as it is.
            step: When it was.
            verbosity: As in a call of the logger.
            fps: Frames a second.
            format: `mp4` or `gif`.
            caption: A text for people.
        """
        self._media(
            "video", name, step, verbosity, lambda: _of("video").prepare(value, fps=fps, format=format, caption=caption)
        )

    @never_raising
    def text(
        self, name: str, value: str, *, step: float | None = None, verbosity: int | None = None, markdown: bool = False
    ) -> None:
        """Log a text: a line of type `text`; above 64 KiB it stands in a file."""
        self._media("text", name, step, verbosity, lambda: _of("text").prepare(value, markdown=markdown))

    @never_raising
    def table(
        self,
        name: str,
        value: Any,
        *,
        step: float | None = None,
        verbosity: int | None = None,
        columns: Sequence[str] | None = None,
    ) -> None:
        """Log a table: a line of type `table`; a large one stands in a Parquet file, or in a CSV file without pyarrow.

        Args:
            name: Below this logger.
            value: Rows (mappings, or sequences with `columns`), a mapping of columns, a data frame of pandas or polars, an
                Arrow table.
            step: When it was.
            verbosity: As in a call of the logger.
            columns: Names of the columns.
        """
        self._media("table", name, step, verbosity, lambda: _of("table").prepare(value, columns=columns))

    @never_raising
    def histogram(
        self,
        name: str,
        value: Any = None,
        *,
        step: float | None = None,
        verbosity: int | None = None,
        bins: int | Sequence[float] = 64,
        counts: Any = None,
        edges: Any = None,
    ) -> None:
        """Log a distribution: a line of type `histogram` with counts, edges, minimum, maximum, mean and deviation.

        Args:
            name: Below this logger.
            value: Numbers of any shape.
            step: When it was.
            verbosity: As in a call of the logger.
            bins: How many, or their edges.
            counts: Of a histogram that is made already, instead of a value.
            edges: Its edges, one more than counts.
        """
        self._media(
            "histogram", name, step, verbosity, lambda: _of("histogram").prepare(value, bins=bins, counts=counts, edges=edges)
        )

    @never_raising
    def array(self, name: str, value: Any, *, step: float | None = None, verbosity: int | None = None) -> None:
        """Log an array of any shape: a line of type `array` and an `.npy` file."""
        self._media("array", name, step, verbosity, lambda: _of("array").prepare(value))

    @never_raising
    def pr_curve(
        self,
        name: str,
        labels: Any,
        predictions: Any,
        *,
        step: float | None = None,
        verbosity: int | None = None,
        thresholds: int | Sequence[float] = 127,
    ) -> None:
        """Log precision and recall over thresholds: a line of type `pr_curve`.

        Args:
            name: Below this logger.
            labels: 0 or 1 for each example.
            predictions: The score of each example, from 0 to 1.
            step: When it was.
            verbosity: As in a call of the logger.
            thresholds: How many, spread evenly over 0 to 1, or the ascending thresholds themselves.
        """
        self._media(
            "pr_curve", name, step, verbosity, lambda: _of("pr_curve").prepare(labels, predictions, thresholds=thresholds)
        )

    @never_raising
    def graph(self, name: str, module: Any, example: Any, *, step: float | None = None, verbosity: int | None = None) -> None:
        """Log the graph of a torch module: a line of type `graph` and a JSON file with its operations.

        Args:
            name: Below this logger.
            module: It is traced before the call returns, and left as it was.
            example: What it is called with.
            step: When it was.
            verbosity: As in a call of the logger.
        """
        self._media("graph", name, step, verbosity, lambda: _of("graph").prepare(module, example))

    @never_raising
    def value(
        self, name: str, value: Any, *, step: float | None = None, verbosity: int | None = None, kind: str | None = None
    ) -> None:
        """Log anything under a name; the value decides the type of the event.

        A number becomes a metric, a text a `text`, one axis of numbers a `histogram`, two or three axes with the shape of an
        image an `image`, any other array an `array`, a figure a `figure`, a data frame a `table`; everything else an event: a
        mapping as it is, other values as `{"value": ...}`.

        Args:
            name: Below this logger.
            value: Anything.
            step: When it was.
            verbosity: As in a call of the logger.
            kind: Overrides what would be inferred: the name of the call, such as `array`.
        """
        call = _of("infer").kind_of(value) if kind is None else kind
        if call in VALUE_KINDS:
            getattr(self, call)(name, value, step=step, verbosity=verbosity)
        else:
            self._plain_value(call, name, value, step, verbosity)

    if TYPE_CHECKING:  # methods of the Logger

        def _media(self, type: str, name: str, step: Any, verbosity: int | None, prepare: Callable[[], Prepared]) -> None: ...

        def _plain_value(self, kind: str, name: str, value: Any, step: Any, verbosity: int | None) -> None: ...
