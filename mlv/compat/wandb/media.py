"""Values that are logged as media: histograms, videos, sounds, figures, and files such as pages and molecules."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

from mlv import Exp, MissingExtra
from mlv.compat.wandb.values import as_array, figure_of

_ELSEWHERE = re.compile(r"[a-z][a-z0-9+.-]+://")


class Media:
    """A value that leaves an event of its own, and mostly a file, when it is logged."""

    _caption: str | None = None

    def store(self, exp: Exp, name: str, step: int | None) -> None:
        """Log it into an experiment, under a name.

        Raises:
            MlvError: Its file cannot be published.
        """
        raise NotImplementedError

    @property
    def caption(self) -> str | None:
        """The text beside it."""
        return self._caption


class Histogram(Media):
    """A distribution: of numbers, or counted already as `numpy.histogram` does it."""

    MAX_LENGTH = 512

    def __init__(self, sequence: Any = None, np_histogram: Any = None, num_bins: int = 64) -> None:
        """Count the numbers.

        Args:
            sequence: Numbers of any shape.
            np_histogram: Counts and edges, in place of numbers.
            num_bins: How many bins.

        Raises:
            ValueError: `np_histogram` is no such pair, or there are too many bins.
        """
        if np_histogram:
            if len(np_histogram) != 2:
                raise ValueError("Expected np_histogram to be a tuple of (values, bin_edges) or sequence to be specified")
            counts, edges = np_histogram
        else:
            import numpy

            numbers = as_array(sequence).astype(float).reshape(-1)
            counts, edges = numpy.histogram(numbers[numpy.isfinite(numbers)], bins=num_bins)
        self.histogram = counts.tolist() if hasattr(counts, "tolist") else list(counts)
        self.bins = edges.tolist() if hasattr(edges, "tolist") else list(edges)
        if len(self.histogram) > self.MAX_LENGTH:
            raise ValueError(f"The maximum length of a histogram is {self.MAX_LENGTH}")
        if len(self.histogram) + 1 != len(self.bins):
            raise ValueError("len(bins) must be len(histogram) + 1")

    def store(self, exp: Exp, name: str, step: int | None) -> None:
        """Log a line of type `histogram`."""
        exp.log.histogram(name, step=step, counts=self.histogram, edges=self.bins)


class Video(Media):
    """A video: a file, or frames, which a worker encodes."""

    EXTS = ("gif", "mp4", "webm", "ogg")

    def __init__(
        self, data_or_path: Any, caption: str | None = None, fps: int | None = None, format: str | None = None
    ) -> None:
        """Take a path, the bytes of a file in memory, or frames of shape TCHW or NTCHW, which lie beside each other.

        Raises:
            ValueError: The format is missing or none of `gif mp4 webm ogg`, or the frames have another shape.
        """
        self._caption, self._fps = caption, fps or 4
        self._content: Any
        if isinstance(data_or_path, (str, os.PathLike)):
            self._content, self._format = Path(data_or_path), Path(data_or_path).suffix[1:].lower()
        elif hasattr(data_or_path, "read"):
            self._content, self._format = data_or_path.read(), self._required(format, "raw bytes (an io object)")
        else:
            self._format = self._required(format, "a numpy array")
            self._content = _frames(as_array(data_or_path))
        if self._format not in self.EXTS:
            raise ValueError(f"wandb.Video accepts {', '.join(self.EXTS)} formats")

    def store(self, exp: Exp, name: str, step: int | None) -> None:
        """Log a line of type `video`; frames become `gif`, or `mlv`'s other format, `mp4`."""
        kind = "gif" if self._format == "gif" else "mp4"
        exp.log.video(name, self._content, step=step, fps=self._fps, format=kind, caption=self._caption)

    def file(self) -> tuple[bytes, str]:
        """Return the content of the file, and the ending of its name.

        Raises:
            TypeError: There are frames, and no file yet.
            OSError: It cannot be read.
        """
        if isinstance(self._content, Path):
            return self._content.read_bytes(), f".{self._format}"
        if isinstance(self._content, bytes):
            return self._content, f".{self._format}"
        raise TypeError("a video of frames cannot be added to an artifact: write a file, and give its path")

    @staticmethod
    def _required(format: str | None, source: str) -> str:
        if format is None:
            raise ValueError(f"wandb.Video requires a `format` argument when initializing with {source}.")
        return format


class Audio(Media):
    """A sound: a file, or samples."""

    def __init__(self, data_or_path: Any, sample_rate: int | None = None, caption: str | None = None) -> None:
        """Take a path, or samples, of shape (samples,) or (samples, channels), in -1..1 or integers.

        Raises:
            ValueError: Samples come without their rate.
        """
        self._caption, self._sample_rate = caption, sample_rate
        if isinstance(data_or_path, (str, os.PathLike)):
            self._content: Any = Path(data_or_path)
        elif sample_rate is None:
            raise ValueError('Argument "sample_rate" is required when instantiating wandb.Audio with raw data.')
        else:
            self._content = as_array(data_or_path).copy()

    def store(self, exp: Exp, name: str, step: int | None) -> None:
        """Log a line of type `audio`."""
        exp.log.audio(name, self._content, self._sample_rate, step=step, caption=self._caption)

    def file(self) -> tuple[bytes, str]:
        """Return the content of the file, of samples that of a WAV, and the ending of its name.

        Raises:
            OSError: It cannot be read.
        """
        if isinstance(self._content, Path):
            return self._content.read_bytes(), self._content.suffix
        return _wav(self._content, self._sample_rate or 1), ".wav"


class Plotly(Media):
    """A figure of plotly, which becomes a page, or of matplotlib, which becomes a picture."""

    def __init__(self, val: Any) -> None:
        """Take a figure.

        Raises:
            ValueError: It is none.
        """
        self._figure = figure_of(val)
        if self._figure is None:
            raise ValueError("Logged plots must be plotly figures, or matplotlib plots convertible to plotly")

    def store(self, exp: Exp, name: str, step: int | None) -> None:
        """Log a line of type `figure`."""
        exp.log.figure(name, self._figure, step=step)


class FileMedia(Media):
    """Media that are a file of the experiment, `files/<folder>/<name>_<step><suffix>`, and an event that names it."""

    folder = "media"

    _content: bytes | Path
    _suffix: str

    def file(self) -> tuple[bytes, str]:
        """Return the content of the file, and the ending of its name.

        Raises:
            OSError: It cannot be read.
        """
        return self._content.read_bytes() if isinstance(self._content, Path) else self._content, self._suffix

    def store(self, exp: Exp, name: str, step: int | None) -> None:
        """Publish the file."""
        content, suffix = self.file()
        clean = "/".join(filter(None, (re.sub(r"[^\w .=+-]", "_", word).strip(". ") for word in name.split("/")))) or "unnamed"
        for number in range(1_000_000):
            end = f"_{number}" if number else ""
            path = f"{self.folder}/{clean}_{step}{end}{suffix}"
            if not (exp.path / "files" / path).exists():  # the same name may come twice in a step
                break
        with exp.file(path, "wb", step=step) as file:
            file.write(content)
        caption = {} if self._caption is None else {"caption": self._caption}
        exp.log(name, {"_type": f"{self.folder}-file", "file": f"files/{path}", **caption}, step=step)

    def _take(self, source: Any, types: Sequence[str], file_type: str | None) -> bool:
        """Keep the content of a path or an open file; return False where the source is neither.

        Raises:
            ValueError: It is of no type that is supported.
        """
        if hasattr(source, "name") and isinstance(source.name, str) and not isinstance(source, Path):
            source = source.name
        if hasattr(source, "read"):
            if file_type is None:
                raise ValueError("Must pass file type keyword argument when using io objects.")
            if hasattr(source, "seek"):
                source.seek(0)
            content = source.read()
            self._content, end = content if isinstance(content, bytes) else str(content).encode(), f".{file_type}"
        elif isinstance(source, (str, os.PathLike)):
            self._content, end = Path(source), os.fspath(source)
        else:
            return False
        for kind in sorted(types, key=len, reverse=True):
            if end.endswith(f".{kind}"):
                self._suffix = f".{kind}"
                return True
        raise ValueError(f"{end!r} is not compatible with {type(self).__name__}: supported types are: {', '.join(types)}")


class Html(FileMedia):
    """A page, which is logged as figures of plotly are."""

    def __init__(self, data: Any, inject: bool = True, data_is_not_path: bool = False) -> None:
        """Take a text, an open file, or the path of a page.

        Args:
            data: The page.
            inject: Does nothing here: the page is kept as it is.
            data_is_not_path: Whether `data` is a text, though there is a file of that name.

        Raises:
            ValueError: It is nothing of these.
        """
        self.inject, self._suffix = inject, ".html"
        if hasattr(data, "read") and not isinstance(data, Path):
            if hasattr(data, "seek"):
                data.seek(0)
            data = data.read()
        elif isinstance(data, Path) or (isinstance(data, str) and not data_is_not_path and _is_file(data)):
            data = Path(data).read_text(encoding="utf-8")
        if not isinstance(data, str):
            raise ValueError("data must be a string, path, or an io object")
        self.html = data
        self._content = data.encode("utf-8", "surrogatepass")

    def savefig(self, file: Any, format: str = "html") -> None:
        """Write the page, as figures write themselves."""
        file.write(self._content)

    def store(self, exp: Exp, name: str, step: int | None) -> None:
        """Log a line of type `figure`."""
        exp.log.figure(name, self, step=step, format="html")


class Object3D(FileMedia):
    """Points or a mesh in space."""

    folder = "object3D"

    SUPPORTED_TYPES = ("obj", "gltf", "glb", "babylon", "stl", "pts.json")

    def __init__(self, data_or_path: Any, caption: str | None = None, file_type: str | None = None, **_: Any) -> None:
        """Take a path, an open file with its type, points of shape Nx3, Nx4 or Nx6, or a scene `{"type": "lidar/beta", ...}`.

        Raises:
            ValueError: It is nothing of these.
        """
        self._caption = caption
        if isinstance(data_or_path, Mapping):
            if data_or_path.get("type") != "lidar/beta":
                raise ValueError("Type not supported, only 'lidar/beta' is currently supported")
            lists = {key: _listed(data_or_path.get(key, [])) for key in ("vectors", "points", "boxes")}
            self._keep({"type": "lidar/beta", **lists})
        elif not self._take(data_or_path, self.SUPPORTED_TYPES, file_type):
            points = as_array(data_or_path)
            if points.ndim != 2 or points.shape[1] not in (3, 4, 6):
                raise ValueError(f"points of shape {points.shape}: give Nx3, Nx4 (with a category) or Nx6 (with a colour)")
            self._keep(points.tolist())

    @classmethod
    def from_file(cls, data_or_path: Any, file_type: str | None = None) -> Object3D:
        """Take a path, or an open file with its type."""
        return cls(data_or_path, file_type=file_type)

    @classmethod
    def from_numpy(cls, data: Any) -> Object3D:
        """Take points."""
        return cls(data)

    @classmethod
    def from_point_cloud(
        cls, points: Any, boxes: Any = (), vectors: Any = None, point_cloud_type: str = "lidar/beta"
    ) -> Object3D:
        """Take a scene: points, boxes by their corners, vectors by their ends."""
        return cls({"type": point_cloud_type, "points": points, "boxes": boxes, "vectors": vectors or []})

    def _keep(self, scene: Any) -> None:
        self._content, self._suffix = json.dumps(scene).encode(), ".pts.json"


class Molecule(FileMedia):
    """A molecule."""

    folder = "molecule"

    SUPPORTED_TYPES = ("pdb", "pqr", "mmcif", "mcif", "cif", "sdf", "sd", "gro", "mol2", "mmtf")

    def __init__(self, data_or_path: Any, caption: str | None = None, file_type: str | None = None, **_: Any) -> None:
        """Take a path, or an open file with its type.

        Raises:
            ValueError: It is neither, or of no type that is supported.
        """
        self._caption = caption
        if not self._take(data_or_path, self.SUPPORTED_TYPES, file_type):
            raise ValueError("Data must be file name or a file object")

    @classmethod
    def from_rdkit(cls, data_or_path: Any, caption: str | None = None, **_: Any) -> Molecule:
        """Take a molecule of rdkit.

        Raises:
            MissingExtra: rdkit is not installed.
        """
        chemistry = _rdkit()
        molecule = chemistry.MolFromMolFile(os.fspath(data_or_path)) if isinstance(data_or_path, (str, Path)) else data_or_path
        made = object.__new__(cls)
        made._caption, made._suffix = caption, ".pdb"
        made._content = str(chemistry.MolToPDBBlock(molecule)).encode()
        return made

    @classmethod
    def from_smiles(cls, data: str, caption: str | None = None, sanitize: bool = True, **_: Any) -> Molecule:
        """Take a molecule in the SMILES notation, of which rdkit computes the shape.

        Raises:
            ValueError: The text is no SMILES.
            MissingExtra: rdkit is not installed.
        """
        chemistry = _rdkit()
        molecule = chemistry.MolFromSmiles(data, sanitize=sanitize)
        if molecule is None:
            raise ValueError("Unable to parse the SMILES string.")
        molecule = chemistry.AddHs(molecule)
        chemistry.EmbedMolecule(molecule)
        return cls.from_rdkit(molecule, caption)


def _rdkit() -> Any:
    try:
        return import_module("rdkit.Chem.AllChem")
    except ImportError as error:
        raise MissingExtra("molecules of this kind need rdkit: pip install rdkit", package="rdkit", extra=None) from error


def _frames(frames: Any) -> Any:
    """Return frames of shape THWC and type uint8; several videos lie beside each other in rows.

    Raises:
        ValueError: The frames have fewer than four axes.
    """
    import numpy

    if frames.ndim < 4:
        raise ValueError("Video must be at least 4 dimensions: time, channels, height, width")
    videos = numpy.array(frames if frames.ndim == 5 else frames[None]).astype(numpy.uint8)
    count, times, channels, height, width = videos.shape
    rows = 2 ** ((count.bit_length() - 1) // 2)
    columns = -(-count // rows)
    room = numpy.zeros((rows * columns, times, channels, height, width), numpy.uint8)
    room[:count] = videos
    grid = room.reshape(rows, columns, times, channels, height, width).transpose(2, 0, 4, 1, 5, 3)
    return numpy.ascontiguousarray(grid.reshape(times, rows * height, columns * width, channels))


def _wav(samples: Any, sample_rate: int) -> bytes:
    """Return a file of samples, of 16 bits each."""
    import io
    import wave

    if samples.dtype.kind == "f":
        samples = (samples.clip(-1, 1) * 32767).round()
    elif samples.dtype.itemsize > 2:
        samples = samples >> 8 * (samples.dtype.itemsize - 2)
    elif samples.dtype == "uint8":
        samples = (samples.astype("int16") - 128) << 8
    file = io.BytesIO()
    with wave.open(file, "wb") as writer:
        writer.setnchannels(1 if samples.ndim == 1 else samples.shape[1])
        writer.setsampwidth(2)
        writer.setframerate(int(sample_rate))
        writer.writeframes(samples.astype("<i2").tobytes())
    return file.getvalue()


def _listed(value: Any) -> Any:
    return [_listed(item) for item in value] if isinstance(value, (list, tuple)) else getattr(value, "tolist", lambda: value)()


def _is_file(text: str) -> bool:
    return len(text) < 4096 and "\n" not in text and "\0" not in text and os.path.isfile(text)


def is_elsewhere(path: str) -> bool:
    """Return whether a path is the address of something on another machine."""
    return _ELSEWHERE.match(path) is not None
