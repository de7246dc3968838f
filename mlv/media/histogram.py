"""Histograms: of values, counted in a worker, or of ready counts and edges."""

from __future__ import annotations

import math
import sys
from array import array
from bisect import bisect_left, bisect_right
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from numbers import Integral
from typing import Any, Protocol

from mlv.media import arrays
from mlv.media.jobs import Prepared, Target, Unusable
from mlv.protocols import Buffer

MOST_BINS = 10_000  # they stand in the line itself, and a picture shows fewer
CHUNK_VALUES = 1 << 20  # 8 MiB of floats at a time, of an array that may have gigabytes
_LEFT_OUT = ("nan", "inf", "-inf")
_LEAST_ULPS = 16
"""Width of the narrowest bins, in units of the last place of the greatest value: so edges ascend in spite of rounding."""


def prepare(value: Any = None, *, bins: Any = 64, counts: Any = None, edges: Any = None) -> Prepared:
    """Prepare a histogram for an event of type `histogram`: of values of any shape, or of ready counts with their edges.

    A bin holds its lower edge and not its upper one; the last bin holds both. NaN and infinities are in no bin and counted
    apart. A number of bins means bins of equal width from the least to the greatest value. Where all values are equal, the
    range is widened around them to a width of 1; where they are too close for so many bins, as far as floats need it; where
    there is no finite value, the range is 0..1 and every count 0.

    Args:
        value: An array or a list of real numbers or bools.
        bins: How many, or their edges, ascending.
        counts: Of ready bins; then no value is given.
        edges: Of ready bins, ascending: one more than the counts.

    Raises:
        Unusable: The values are no real numbers, or bins, counts or edges do not fit.
    """
    if counts is not None or edges is not None:
        if value is not None or counts is None or edges is None:
            raise Unusable("a histogram has values, or else both counts and edges")
        return Prepared("histogram", None, _ready(counts, edges))
    raw = arrays.raw(value)
    if raw.kind not in "biuf":
        raise Unusable(f"a histogram counts real numbers, not items of dtype {raw.dtype}")
    return Prepared("histogram", "histogram", {"descr": raw.descr, "bins": _checked_bins(bins)}, [raw.content])


def _ready(counts: Any, edges: Any) -> dict[str, Any]:
    numbers, ends = arrays.row(counts, "counts"), arrays.ascending(edges, "edges")
    if not numbers or len(ends) != len(numbers) + 1:
        raise Unusable(f"a histogram has one edge more than counts, not {len(ends)} edges of {len(numbers)} counts")
    if not all(0 <= count < math.inf for count in numbers):
        raise Unusable("a count is finite and not below 0")
    return {"counts": numbers, "edges": ends, "count": sum(numbers)}


def _checked_bins(bins: Any) -> int | list[Any]:
    checked = int(bins) if isinstance(bins, Integral) else arrays.ascending(bins, "bins")
    count = checked if isinstance(checked, int) else len(checked) - 1
    if not 1 <= count <= MOST_BINS:
        raise Unusable(f"a histogram has 1 to {MOST_BINS} bins, not {count}")
    return checked


def encode(
    options: Mapping[str, Any], buffers: Sequence[Buffer], _target: Target | None, chunk_values: int = CHUNK_VALUES
) -> dict[str, Any]:
    """Count the values: the event's data.

    `count` is that of all finite values, `std` their spread around `mean` (divided by the count); these and `min` and `max`
    are left out where there is none. With the user's edges, `below` and `above` are the numbers of values outside of them.
    """
    numpy = arrays.numpy_if_there()

    def blocks() -> Iterator[ValueBlock]:
        """Yield the values chunk by chunk: as floats of 64 bits, all of them may not fit into memory."""
        for values in arrays.floats_in_chunks(options["descr"], buffers[0], chunk_values):
            yield PlainBlock(values) if numpy is None else NumpyBlock(values, numpy)

    count, low, high, left_out = 0, math.inf, -math.inf, Counter[str]()
    for block in blocks():
        left_out.update(block.left_out)
        if block.count:
            count, low, high = count + block.count, min(low, block.low), max(high, block.high)
    bins = options["bins"]
    edges = bins if isinstance(bins, list) else equal_bins(low, high, bins) if count else equal_bins(0.0, 1.0, bins)
    data = {**_counted(blocks(), edges), **(_moments(blocks, count, low, high) if count else {})}
    return {**data, **{name: number for name, number in left_out.items() if number}}


def equal_bins(low: float, high: float, bins: int) -> list[float]:
    """Return edges of bins of equal width over a finite range, widened where floats could not separate its edges."""
    least = bins * _LEAST_ULPS * math.ulp(max(abs(low), abs(high)))
    width = max(1.0, least) if low == high else least
    if high - low < width:
        middle = low + (high - low) / 2
        low, high = max(middle - width / 2, -sys.float_info.max), min(middle + width / 2, sys.float_info.max)
    # Not from the width of the range: it may be beyond the greatest float.
    return [low, *(low * (1 - i / bins) + high * (i / bins) for i in range(1, bins)), high]


def _counted(blocks: Iterator[ValueBlock], edges: list[float]) -> dict[str, Any]:
    counts, count, below, above = [0] * (len(edges) - 1), 0, 0, 0
    for block in blocks:
        ranks = block.ranks(edges)
        counts = [total + end - start for total, start, end in zip(counts, ranks, ranks[1:], strict=False)]
        count, below, above = count + block.count, below + ranks[0], above + block.count - ranks[-1]
    outside = {name: number for name, number in (("below", below), ("above", above)) if number}
    return {"counts": counts, "edges": edges, "count": count, **outside}


def _moments(blocks: Callable[[], Iterator[ValueBlock]], count: int, low: float, high: float) -> dict[str, float]:
    """Return minimum, maximum, mean and standard deviation; computed on scaled values, so that no sum or square overflows."""
    scale = math.ldexp(1.0, math.frexp(max(abs(low), abs(high)))[1] - 1) if low or high else 1.0
    mean = math.fsum(block.sum(scale) for block in blocks()) / count
    mean = min(max(mean, low / scale), high / scale)  # rounding may lead out
    variance = math.fsum(block.squares(scale, mean) for block in blocks()) / count
    return {"min": low, "max": high, "mean": mean * scale, "std": math.sqrt(variance) * scale}


class ValueBlock(Protocol):
    """A block of the values."""

    left_out: dict[str, int]
    """Numbers of NaNs and infinities."""
    count: int
    """Number of finite values; low and high are there where it is not 0."""
    low: float
    high: float

    def ranks(self, edges: list[float]) -> list[int]:
        """Return the number of finite values below each edge; for the last one, not above it."""

    def sum(self, scale: float) -> float:
        """Return the sum of the values divided by the scale."""

    def squares(self, scale: float, mean: float) -> float:
        """Return the sum of the squares of the differences between the values divided by the scale, and the mean."""


class NumpyBlock:
    """A `ValueBlock` of values in an array of numpy."""

    def __init__(self, values: Any, numpy: Any) -> None:
        self._numpy, self._finite = numpy, values[numpy.isfinite(values)]
        self.count = len(self._finite)
        masks = numpy.isnan(values), values == math.inf, values == -math.inf
        self.left_out = {name: int(numpy.count_nonzero(which)) for name, which in zip(_LEFT_OUT, masks, strict=True)}
        if self.count:
            self.low, self.high = float(self._finite.min()), float(self._finite.max())

    def ranks(self, edges: list[float]) -> list[int]:
        """Compute as `ValueBlock` says."""
        ordered = self._numpy.sort(self._finite)
        last = self._numpy.searchsorted(ordered, edges[-1], "right")
        return [*self._numpy.searchsorted(ordered, edges[:-1], "left").tolist(), int(last)]

    def sum(self, scale: float) -> float:
        """Compute as `ValueBlock` says."""
        return float((self._finite / scale).sum())

    def squares(self, scale: float, mean: float) -> float:
        """Compute as `ValueBlock` says."""
        return float(((self._finite / scale - mean) ** 2).sum())


class PlainBlock:
    """A `ValueBlock` of values in an array of the standard library."""

    def __init__(self, values: array[float]) -> None:
        self._finite = [value for value in values if math.isfinite(value)]
        self.count = len(self._finite)
        numbers = sum(map(math.isnan, values)), values.count(math.inf), values.count(-math.inf)
        self.left_out = dict(zip(_LEFT_OUT, numbers, strict=True))
        if self.count:
            self.low, self.high = min(self._finite), max(self._finite)

    def ranks(self, edges: list[float]) -> list[int]:
        """Compute as `ValueBlock` says."""
        ordered = sorted(self._finite)
        return [*(bisect_left(ordered, edge) for edge in edges[:-1]), bisect_right(ordered, edges[-1])]

    def sum(self, scale: float) -> float:
        """Compute as `ValueBlock` says."""
        return math.fsum(value / scale for value in self._finite)

    def squares(self, scale: float, mean: float) -> float:
        """Compute as `ValueBlock` says."""
        return math.fsum((value / scale - mean) ** 2 for value in self._finite)
