"""The output for a writer of the user's: it follows the log, and gives the writer its values."""

from __future__ import annotations

import pickle
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from typing import Any, ClassVar

import mlv
from mlv.compat.allogger.outputs import KIND, is_for
from mlv.compat.allogger.settings import WriterOptions, valid_outputs
from mlv.projections import Output

GROUP = "group"
"""The coordinate of numbers that were logged together: their key."""


@dataclass(kw_only=True)
class Custom(Output):
    """Calls `add_<kind>` of a writer for each value, and `_run` where the values are to outlive the process."""

    NOTES_IN_EXPERIMENT: ClassVar[bool] = True

    output: str
    """Its name among the outputs."""
    kind: bytes = field(repr=False)
    """The writer's class, packed."""
    parameters: Mapping[str, Any] = field(default_factory=dict)
    by_default: bool = True
    """Whether lines without a route go here."""

    _writer: Any = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        super().__post_init__()
        self.name = f"allogger-{self.output}"

    def open(self, place: Path, resume: Any) -> None:
        """Make the writer."""
        kind = pickle.loads(self.kind)  # noqa: S301 - from the process that asks for it
        self._writer = kind(output_dir=str(place), **self.parameters)

    def write(self, batch: Any) -> None:
        """Give the writer the values."""
        for event in batch:
            if is_for(self.output, event.at, self.by_default):
                self._give(event, batch.folder)

    def commit(self) -> None:
        """Let the writer bring the values to the disk."""
        self._writer._run()

    def close(self) -> None:
        """Close the writer."""
        self._writer.close()

    def _give(self, event: mlv.Event, folder: Path) -> None:
        step, kind = event.step or 0, event.at.get(KIND)
        if event.type == "metrics" and isinstance(event.data, Mapping):
            prefix = f"{event.name}/" if event.name else ""
            named = {prefix + key: value for key, value in event.data.items()}
            if kind == "scalars":
                key = event.at[GROUP]
                self._writer.add_scalars(key, {name.removeprefix(f"{key}/"): value for name, value in named.items()}, step)
                return
            for name, value in named.items():
                self._writer.add_scalar(name, value, step)
        elif event.type == "array":
            value = _array(event, folder)
            if value is not None:
                getattr(self._writer, f"add_{kind if kind in _ARRAYS else 'array'}")(event.name, value, step)
        elif event.type == "text" and isinstance(event.data, Mapping) and "text" in event.data:
            self._writer.add_text(event.name, event.data["text"], step)


_ARRAYS = ("histogram", "image")


def _array(event: mlv.Event, folder: Path) -> Any:
    """Return the array of an event; None where its file is gone."""
    try:
        return import_module("numpy").load(folder / event.data["file"]["path"], allow_pickle=False)
    except (OSError, ValueError, LookupError, TypeError):
        return None


@dataclass(frozen=True)
class OwnWriterOptions(WriterOptions):
    """A writer of the user's, with its options."""

    kind: bytes = b""
    """The class, packed: it travels to children, and to the process of its own."""
    parameters: Mapping[str, Any] = field(default_factory=dict)


def checked_writers(writers: Mapping[str, Any], parameters: Mapping[str, Any]) -> dict[str, OwnWriterOptions] | None:
    """Return the writers by the names of their outputs; None where there are none.

    Raises:
        ValueError: One has the name of another output, or none that a parameter can have.
        TypeError: Parameters are for no writer.
        InvalidPattern: A filter is no regular expression.
        InvalidArgument: A class cannot travel to a process of its own.
    """
    unknown = sorted(parameters.keys() - {f"{name}_writer_params" for name in writers})
    if unknown:
        raise TypeError(f"configure() got an unexpected argument {unknown[0]!r}: give writers={{'<name>': <class>}} with it")
    own_writers = {}
    for name, kind in writers.items():
        if name in valid_outputs or not name.isidentifier():
            raise ValueError(f"{name!r} is no name for a writer: give an identifier that is none of {', '.join(valid_outputs)}")
        of_name = dict(parameters.get(f"{name}_writer_params") or {})
        own_writers[name] = OwnWriterOptions(filter=of_name.get("filter", ".*"), kind=_packed(name, kind), parameters=of_name)
    return own_writers or None


def outputs_of(
    scope: str, logdir: str, writers: Mapping[str, OwnWriterOptions], requested: Collection[str], debug: bool
) -> list[Custom]:
    """Return the outputs of writers for a logdir."""
    events = Path(logdir, "events").absolute()
    return [
        Custom(
            output=name, kind=writer.kind, parameters={"scope": scope, "debug": debug, **writer.parameters}, path=events,
            by_default=name in requested,
        )
        for name, writer in writers.items()
    ]  # fmt: skip


def _packed(output: str, kind: Any) -> bytes:
    of_script = getattr(kind, "__module__", "") == "__main__"
    try:
        packed: bytes = import_module("cloudpickle" if of_script else "pickle").dumps(kind)
        return packed
    except ImportError:
        text = f"the writer {output!r} is defined in the script: put it into a module beside it, or pip install cloudpickle"
        raise mlv.InvalidArgument(text, output=output) from None
    except Exception as error:
        raise mlv.InvalidArgument(f"the writer {output!r} cannot travel to a process of its own: {error}") from error
