"""Audio: handed over as it lies in memory, and stored by a worker as WAV; files are stored as they are."""

from __future__ import annotations

import io
import math
import struct
import wave
from collections.abc import Mapping, Sequence
from typing import Any, BinaryIO

from mlv.encoding import shown
from mlv.media import pixels
from mlv.media.given import Formats, formats, given_file, received
from mlv.media.jobs import Prepared, Target, Unusable
from mlv.protocols import Buffer

FORMATS: Formats = formats(wav=rb"RIFF....WAVE", flac=rb"fLaC", ogg=rb"OggS", mp3=rb"ID3|\xff[\xe2-\xe7\xf2-\xf7\xfa-\xff]")

_DTYPES = ("int16", "int32", "uint8")
_MOST_CHANNELS = 64  # beyond it, an array is more likely something else than sound
_MOST_BYTES = 2**32 - 1024  # the header of a WAV file counts in 32 bits
_HIGHEST_RATE = 10_000_000


# In the training process.


def prepare(value: Any, rate: Any = None, *, caption: Any = None) -> Prepared:
    """Recognise a sound, and look at it no closer: its values are checked by a worker.

    Args:
        value: An array or tensor of samples, (n,), (n, channels) or (channels, n): the shorter axis is that of the channels,
            and the second one where they are equal. Floats in -1..1, int16, int32, or uint8 around 128. Or a WAV, FLAC, MP3 or
            OGG as a path or as bytes, which is stored as it is.
        rate: Samples per second; of a file it is optional.
        caption: A text.

    Raises:
        Unusable: It is no sound, or its rate is no rate.
    """
    options: dict[str, Any] = {} if caption is None else {"caption": caption}
    file = given_file(value, FORMATS, "sound")
    if rate is not None or file is None:
        options["rate"] = _checked_rate(rate)
    if file is not None:
        return Prepared("audio", "audio", {"sound": file[0], **options}, file[1])
    description, memory = _described(pixels.as_array(value))
    return Prepared("audio", "audio", {"sound": description, **options}, [memory])


def _checked_rate(rate: Any) -> int:
    try:
        plain = float(rate)
    except (TypeError, ValueError, OverflowError):
        plain = math.nan
    if not (1 <= plain <= _HIGHEST_RATE and plain == int(plain)):
        raise Unusable(f"rate={shown(rate)} is no rate: give the samples per second as a whole number, such as 44100")
    return int(plain)


def _described(array: Any) -> pixels.Described:
    if array.dtype.kind != "f" and array.dtype.name not in _DTYPES:
        raise Unusable(f"an array of dtype {array.dtype} is no sound: give floats in -1..1, int16, int32 or uint8")
    if array.ndim not in (1, 2) or 0 in array.shape:
        raise Unusable(f"an array of shape {array.shape} is no sound: known are (n,), (n, channels) and (channels, n)")
    if array.ndim == 2 and min(array.shape) > _MOST_CHANNELS:
        raise Unusable(f"an array of shape {array.shape} has more than {_MOST_CHANNELS} channels: is it a batch, or an image?")
    # S: samples.
    layout = "S" if array.ndim == 1 else "SC" if array.shape[1] <= array.shape[0] else "CS"
    return pixels.described(array, layout)


# In a worker.


def encode(options: Mapping[str, Any], buffers: Sequence[Buffer], target: Target) -> dict[str, Any]:
    """Store samples as WAV of 16 bits (32 bits for int32), and files as they are.

    Floats beyond -1..1 are cut off there, and counted as `clipped` in the data.

    Raises:
        Unusable: A sample is not finite, or the file is gone; nothing is stored.
    """
    caption = {key: options[key] for key in ("caption",) if key in options}
    if "suffix" in options["sound"]:
        file = received(options["sound"], iter(buffers))
        with file.open() as opened:
            properties = _look_into(opened, file.suffix)
        rate = {"rate": options["rate"]} if "rate" in options else {}
        return {"file": target.file(file.suffix, file.content), **properties, **rate, **caption}
    samples, clipped = _samples(options["sound"], buffers[0])
    (count, channels), rate = samples.shape, options["rate"]
    return {
        "file": target.file(".wav", lambda path: _write_wav(path, samples, rate)),
        "rate": rate, "channels": channels, "duration_s": count / rate,
        **({"clipped": clipped} if clipped else {}), **caption,
    }  # fmt: skip


def _samples(description: Mapping[str, Any], memory: Buffer) -> tuple[Any, int]:
    """Return the samples of shape (n, channels) as integers, and the number of those that were cut off."""
    import numpy

    array = numpy.frombuffer(memory, description["dtype"]).reshape(description["shape"])
    array = array.T if description["layout"] == "CS" else array.reshape(len(array), -1)
    clipped = 0
    if array.dtype.kind == "f":
        array, clipped = _of_floats(array, numpy)
    elif array.dtype.itemsize == 1:
        array = (array.astype(numpy.int16) - 128) * 256
    samples = numpy.ascontiguousarray(array, array.dtype.newbyteorder("="))
    if samples.nbytes > _MOST_BYTES:
        raise Unusable(f"a sound of {samples.nbytes} bytes is longer than a WAV can be: log it in pieces, or as a FLAC file")
    return samples, clipped


def _of_floats(array: Any, numpy: Any) -> tuple[Any, int]:
    finite = int(numpy.isfinite(array).sum())
    if finite < array.size:
        raise Unusable(f"a sound has {array.size - finite} of {array.size} samples that are NaN or infinite")
    scaled = array.astype(numpy.float64 if array.dtype.itemsize > 4 else numpy.float32)
    clipped = int((abs(scaled) > 1).sum())
    return numpy.rint(scaled.clip(-1, 1) * 32767).astype(numpy.int16), clipped


def _write_wav(path: str, samples: Any, rate: int) -> None:
    with wave.open(path, "wb") as file:
        file.setnchannels(samples.shape[1])
        file.setsampwidth(samples.dtype.itemsize)
        file.setframerate(rate)
        file.writeframes(memoryview(samples).cast("B"))


def _look_into(file: BinaryIO, suffix: str) -> dict[str, Any]:
    """Read rate, channels and duration from a file, as far as its header holds them."""
    try:
        if suffix == ".wav":
            return _look_into_wav(file)
        return _look_into_flac(file) if suffix == ".flac" else {}
    except (struct.error, ZeroDivisionError, OSError) as error:
        raise Unusable(f"the {suffix[1:].upper()} cannot be read: {shown(error)}") from error


def _look_into_wav(file: BinaryIO) -> dict[str, Any]:
    end = file.seek(0, io.SEEK_END)
    begin = file.seek(12)
    properties: dict[str, Any] = {}
    bytes_per_s = 0
    while begin + 8 <= end:
        name, size = struct.unpack("<4sI", file.read(8))
        if name == b"fmt ":
            channels, rate, bytes_per_s = struct.unpack("<2xHII", file.read(12))
            properties = {"rate": rate, "channels": channels}
        elif name == b"data" and properties:
            # A file that was piped has a size in its header that is too large.
            return {**properties, "duration_s": min(size, end - begin - 8) / bytes_per_s}
        begin = file.seek(begin + 8 + size + size % 2)
    return properties


def _look_into_flac(file: BinaryIO) -> dict[str, Any]:
    file.seek(18)
    # 20 bits of rate, 3 of channels - 1, 5 of bits per sample - 1, 36 of the number of samples, 0 if unknown
    (packed,) = struct.unpack(">Q", file.read(8))
    rate, channels, count = packed >> 44, (packed >> 41 & 7) + 1, packed & (1 << 36) - 1
    return {"rate": rate, "channels": channels, **({"duration_s": count / rate} if count else {})}
