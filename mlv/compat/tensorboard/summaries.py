"""Summaries of TensorBoard as events: a picture, a sound, a text or a number has one of its own kind."""

from __future__ import annotations

from itertools import pairwise
from struct import unpack
from typing import Any

from mlv import Logger
from mlv.compat.tensorboard.names import SIZES

_TEXT = "/text_summary"
_PNG, _GIF = b"\x89PNG\r\n\x1a\n", (b"GIF87a", b"GIF89a")
_PNG_CHANNELS = {0: 1, 2: 3, 4: 2, 6: 4}
"""Channels by the colour type of a PNG."""


def log_value(log: Logger, value: Any, step: Any) -> bool:
    """Log a value of a summary as an event from which the output makes the same; False where there is no such event."""
    kind, has_metadata = value.WhichOneof("value"), value.HasField("metadata")
    if not value.tag:
        return False
    if kind == "tensor" and has_metadata:
        return _log_text(log, value, step)
    if has_metadata or kind not in ("simple_value", "image", "audio"):
        return False
    if kind == "simple_value":
        log({value.tag: value.simple_value}, step=step)
        return True
    return _log_image(log, value, step) if kind == "image" else _log_audio(log, value, step)


def log_histogram(log: Logger, value: Any, step: Any) -> None:
    """Log the counts of a histogram, where their limits ascend.

    The first bucket, of which only the upper limit stands in a summary, begins at the minimum.
    """
    counts, edges = list(value.histo.bucket), list(value.histo.bucket_limit)
    if counts and counts[0]:
        edges.insert(0, value.histo.min)
    else:
        del counts[:1]
    if counts and len(edges) == len(counts) + 1 and all(low < high for low, high in pairwise(edges)) and value.tag:
        log.histogram(value.tag, counts=counts, edges=edges, step=step)


def _log_text(log: Logger, value: Any, step: Any) -> bool:
    metadata, tensor = value.metadata, value.tensor
    is_plain = metadata.plugin_data.plugin_name == "text" and not metadata.plugin_data.content and not metadata.display_name
    if not (is_plain and value.tag.endswith(_TEXT) and [dim.size for dim in tensor.tensor_shape.dim] == [1]):
        return False
    try:
        [content] = tensor.string_val
        text = content.decode()
    except ValueError:  # several texts, or bytes that are none
        return False
    name = value.tag.removesuffix(_TEXT)
    if not name:
        return False
    log.text(name, text, step=step, markdown=True)
    return True


def _log_image(log: Logger, value: Any, step: Any) -> bool:
    content = value.image.encoded_image_string
    own = _sizes(content)
    if own is None:
        return False
    shown = (value.image.width, value.image.height, value.image.colorspace)
    sizes = {name: size for name, size, other in zip(SIZES, shown, own, strict=True) if size != other}
    placed = log.at(**sizes) if sizes else log
    if content.startswith(_PNG):
        placed.image(value.tag, content, step=step)
    else:
        placed.video(value.tag, content, step=step)
    return True


def _sizes(content: bytes) -> tuple[int, int, int] | None:
    """Return width, height and channels of a picture as the output reads them from its event; None of an unknown format."""
    if content.startswith(_PNG) and len(content) > 25 and content[25] in _PNG_CHANNELS:
        return (*unpack(">II", content[16:24]), _PNG_CHANNELS[content[25]])
    if content.startswith(_GIF) and len(content) > 10:
        return (*unpack("<HH", content[6:10]), 3)
    return None


def _log_audio(log: Logger, value: Any, step: Any) -> bool:
    content = value.audio.encoded_audio_string
    if not (content.startswith(b"RIFF") and content[8:12] == b"WAVE"):
        return False
    log.audio(value.tag, content, step=step)
    return True
