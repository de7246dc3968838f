"""The base of both SummaryWriters: what their originals share, and the calls that mlv does itself."""

from __future__ import annotations

import os
from base64 import b64encode
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from functools import cached_property
from socket import gethostname
from types import TracebackType
from typing import Any, TypeVar

from mlv import Exp
from mlv.compat.scalars import number_in
from mlv.compat.tensorboard.file_writer import FileWriter, checked_number, whole
from mlv.compat.tensorboard.guarding import Reporter
from mlv.compat.tensorboard.names import FORM, HPARAMS

_Own = TypeVar("_Own", bound="Writer")


class Writer:
    """Logs each call as an event, and leaves the event file that the original would have left.

    Scalars, hyperparameters and the life of the file are done here. For all else the original's own method makes the summary,
    and is imported by the first call that needs it; the `FileWriter` here takes the summary.
    """

    file_writer: FileWriter | None
    """Takes summaries and records; None after `close`, until the next call begins another run."""
    all_writers: dict[str, FileWriter] | None
    purge_step: Any

    def _prepare(self, log_dir: Any, comment: Any, purge_step: Any, filename_suffix: Any) -> Any:
        """Begin, and return the folder."""
        folder = log_dir or os.path.join("runs", f"{datetime.now():%b%d_%H-%M-%S}_{gethostname()}{comment}")
        self._place, self._suffix, self.purge_step = folder, filename_suffix or "", purge_step
        self._closed: FileWriter | None = None
        self._forms: dict[str, dict[str, Any]] = {}
        self._hparams: list[dict[str, Any]] = []
        self._reporter = Reporter()
        self.file_writer = self.all_writers = None
        self._get_file_writer()
        return folder

    @property
    def exp(self) -> Exp:
        """The experiment that the writer logs into."""
        writer: FileWriter = self.file_writer or self._closed or self._get_file_writer()
        return writer.exp

    @cached_property
    def default_bins(self) -> list[float]:
        """The limits of the buckets of histograms."""
        value, buckets = 1e-12, []
        while value < 1e20:
            buckets.append(value)
            value *= 1.1
        return [-bucket for bucket in reversed(buckets)] + [0] + buckets

    def get_logdir(self) -> Any:
        """Return the folder of the event files."""
        return self._place

    def flush(self) -> None:
        """Return when the event files hold everything that was logged."""
        if self.file_writer is not None:
            self.file_writer.flush()

    def close(self) -> None:
        """End the run, and return when the event files are complete; a later call begins another run and file."""
        self._end(None, None, None)

    def __enter__(self: _Own) -> _Own:
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, exc_val: BaseException | None, exc_tb: TracebackType | None
    ) -> None:
        self._end(exc_type, exc_val, exc_tb)

    def report(self, text: str) -> None:
        """Tell of a call that was left out."""
        self._reporter(text, None if self.file_writer is None else self.file_writer.log)

    def _end(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        writer, self.file_writer, self.all_writers = self.file_writer, None, None
        if writer is not None:
            self._closed = writer
            writer.end(kind, error, trace)

    def _get_file_writer(self) -> Any:
        """Return the FileWriter, made where there is none, or reopened."""
        if self.file_writer is None or self.all_writers is None:
            self.file_writer, self._closed = self._opened(), None
            self.all_writers = {self.file_writer.get_logdir(): self.file_writer}
        return self.file_writer

    def _opened(self) -> FileWriter:
        if self._closed is not None:
            self._closed.reopen()
            return self._closed
        if self.purge_step is None:
            return self._file_writer_class()(self._place, filename_suffix=self._suffix)
        step, self.purge_step = self.purge_step, None
        return self._file_writer_class().going_back(self._place, self._suffix, step)

    def _call(self, name: str, *args: Any, **kwargs: Any) -> None:
        """Let the original's method make the summary of a call."""
        getattr(self._original(), name)(self, *args, **kwargs)

    def _add_scalar(self, tag: Any, value: Any, step: Any, walltime: Any, form: dict[str, Any]) -> None:
        """Log a scalar; where it has another form than the one before of its tag, that stands in an event before it."""
        writer = self._get_file_writer()
        if form != self._forms.get(tag, {}):
            self._forms[tag] = form
            writer.log(FORM, {"tag": tag, "form": form})
            if form.get("summary_description"):
                writer.log.describe(tag, description=form["summary_description"])
        writer.at(walltime)({tag: checked_number(value)}, step=whole(step))

    def _add_scalars(self, numbers: Mapping[str, Any], step: Any, walltime: Any) -> None:
        """Log numbers that belong together, as one event."""
        self._get_file_writer().at(walltime)(self._numbers("add_scalars", numbers), step=whole(step))

    def _numbers(self, call: str, values: Mapping[str, Any]) -> dict[str, Any]:
        """Return the values that are numbers; tell of the others."""
        numbers = {}
        for tag, value in values.items():
            try:
                numbers[tag] = checked_number(value)
            except TypeError as error:
                self.report(f"{tag!r} of {call} was left out: TypeError: {error}")
        return numbers

    def _add_hparams(
        self,
        hparams: dict[str, Any],
        metrics: dict[str, Any],
        summaries: Callable[[dict[str, Any], Any], Iterable[Any]],
        step: Any,
        *,
        name: Any,
        domain: Any = None,
        is_stepped: bool = True,
        tag_of: Callable[[str], str] = str,
    ) -> None:
        """Log hyperparameters and their metrics, and keep them as params and summaries of the experiment.

        They belong to the run of `log_dir`; others than the first ones, and those with a name, to a run in a folder below.

        Raises:
            TypeError: They are no dicts.
            ValueError: The name leads out of the folder.
            OSError: The folder cannot be made.
        """
        if type(hparams) is not dict or type(metrics) is not dict:
            raise TypeError("hparam_dict and metric_dict should be dictionary.")
        writer = self._get_file_writer()
        plain = {str(key): _plain(number_in(value, texts=False)) for key, value in hparams.items()}
        # Before they are serialized: the log would not find a credential in such bytes.
        shown = writer.without_credentials(plain)
        safe = {
            key: value if after is before or after == before else after
            for value, before, (key, after) in zip(hparams.values(), plain.values(), shown.items(), strict=True)
        }
        if isinstance(domain, dict):
            domain = {
                key: values for key, values in domain.items() if writer.without_credentials({key: values}) == {key: values}
            }
        made = [b64encode(summary.SerializeToString()).decode() for summary in summaries(safe, domain)]
        numbers = self._numbers("add_hparams", {str(key): value for key, value in metrics.items()})
        if plain not in self._hparams:
            self._hparams.append(plain)
        number = self._hparams.index(plain)
        folder = writer.folder_below(str(name) if name else f"hparams_{number + 1}" if number else "")
        data = {"hparams": shown, "metrics": {tag_of(tag): value for tag, value in numbers.items()}}
        choices = {"domain": domain} if domain else {}
        place = {"folder": folder, "is_stepped": is_stepped, "summaries": made}
        if number == 0:
            writer.exp.add_params(plain, lenient=True)
            writer.log.summarize(numbers)
        writer.log(HPARAMS, {**data, **choices, **place}, step=whole(step))

    def _log_mesh(self, tag: str, vertices: Any, colors: Any, faces: Any, step: Any, walltime: Any) -> None:
        """Log the arrays of a mesh."""
        log = self._get_file_writer().at(walltime).sub(tag)
        for name, values in (("vertices", vertices), ("colors", colors), ("faces", faces)):
            if values is not None:
                log.array(name, values, step=whole(step))

    def _log_embedding(self, mat: Any, step: Any, tag: Any) -> None:
        """Log the matrix of an embedding, and keep the files beside it that the original's method wrote."""
        writer = self._get_file_writer()
        writer.log.array(str(tag), mat, step=whole(step))
        folder = f"{str(0 if step is None else step).zfill(5)}/{self._encode(tag)}"
        for name in ("metadata.tsv", "sprite.png"):
            path = writer.folder / folder / name
            if path.exists():
                writer.exp.attach(path, f"embeddings/{folder}/{name}")

    @staticmethod
    def _encode(rawstr: Any) -> str:
        """Return a tag as the name of a folder."""
        return str(rawstr).replace("%", "%25").replace("/", "%2f").replace("\\", "%5c")

    def _file_writer_class(self) -> type[FileWriter]:
        return FileWriter

    def _original(self) -> Any:
        """Return the class whose place this one takes."""
        raise NotImplementedError


def _plain(value: Any) -> Any:
    return value if value is None or isinstance(value, (bool, int, float, str)) else getattr(value, "__name__", str(value))
