"""Arrays of any shape, as `.npy` files."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from mlv.media import arrays, npy
from mlv.media.jobs import Prepared, Target
from mlv.protocols import Buffer


def prepare(value: Any) -> Prepared:
    """Prepare an array of any shape for an event of type `array`.

    Items: numbers, bools, complex numbers, dates and spans of time of numpy, texts and bytes of a fixed length. Types that
    numpy lacks are stored wider: bfloat16 and 8-bit floats of torch and JAX as float32.

    Raises:
        Unusable: It is no array, or its items are objects.
    """
    raw = arrays.raw(value)
    options = {"shape": list(raw.shape), "dtype": raw.dtype, "descr": raw.descr}
    return Prepared("array", "array", options, [raw.content])


def encode(options: Mapping[str, Any], buffers: Sequence[Buffer], target: Target) -> dict[str, Any]:
    """Publish the `.npy` file: the event's data, with `dtype_logged` where the file's type is a wider one."""
    descr, content = arrays.widened(options["descr"], buffers[0])

    def write(path: str) -> None:
        with open(path, "wb") as file:
            file.write(npy.header(descr, tuple(options["shape"])))
            file.write(content)

    stored = arrays.type_name(descr)
    logged = {"dtype_logged": options["dtype"]} if options["dtype"] != stored else {}
    return {"file": target.file(".npy", write), "shape": options["shape"], "dtype": stored, **logged}
