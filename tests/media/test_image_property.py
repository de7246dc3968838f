"""Pixels survive the way to a file and back, whatever the shape, the order of memory and the dtype."""

from __future__ import annotations

import tempfile
from pathlib import Path

import pytest

from media.places import Folder
from mlv.media import image

numpy = pytest.importorskip("numpy")
pillow = pytest.importorskip("PIL.Image")
hypothesis = pytest.importorskip("hypothesis")
st = pytest.importorskip("hypothesis.strategies")

sizes = st.integers(1, 9)


@hypothesis.given(
    rows=sizes,
    columns=sizes,
    channels=st.integers(1, 4),
    order=st.permutations("HWC"),
    in_memory=st.permutations(range(3)),
    dtype=st.sampled_from(["u1", "i2", ">u4", "f2", "<f4", ">f8"]),
    seed=st.integers(0, 2**32),
)
def test_round_trip(rows, columns, channels, order, in_memory, dtype, seed):
    """An image of any layout, lying in memory in any order, is read back from its PNG pixel by pixel."""
    value = numpy.random.default_rng(seed).integers(0, 256, (rows, columns, channels))
    logged = (value / 255 if "f" in dtype else value).astype(dtype)
    axes = ["HWC".index(letter) for letter in order]
    logged = numpy.ascontiguousarray(logged.transpose(axes).transpose(in_memory)).transpose(numpy.argsort(in_memory))

    with tempfile.TemporaryDirectory() as path:
        folder = Folder(Path(path))
        data = folder.data(image.prepare(logged, layout="".join(order)))
        with pillow.open(folder.at(data["file"])) as stored:
            found = numpy.asarray(stored).reshape(value.shape)

    assert numpy.array_equal(found, value)
