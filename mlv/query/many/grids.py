"""Values of members brought to common positions on the x axis, so that they can be pooled where their own positions differ."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Union

from mlv.errors import InvalidArgument
from mlv.optional import package
from mlv.query.many.statistics import Samples

EXACT, INTERPOLATE = "exact", "interpolate"
Grid = Union[str, int]
"""`exact` pools at equal x alone, `interpolate` between the logged values of a member, a number within so many bins."""
_ALIKE = 0.9
"""Share of its group's positions, between its own first and last, at which a member of an even grid has values."""
_MOST_POSITIONS = 2000
"""Members are interpolated at every x of their group, or at this many evenly spaced ones if there are more."""
_MOST_BINS = 100_000
"""More bins than any picture shows; a billion would take all memory."""


def checked_grid(grid: Any) -> Grid:
    """Accept a way to bring values together.

    Raises:
        InvalidArgument: It is neither a name nor a number of bins.
    """
    is_number = type(grid) is int and 0 < grid <= _MOST_BINS
    if not is_number and grid not in (EXACT, INTERPOLATE):
        raise InvalidArgument(
            f"grid={grid!r}: give 'exact', 'interpolate', or a number of bins up to {_MOST_BINS}, such as 50", grid=grid
        )
    return grid  # type: ignore[no-any-return]


def on_grid(points: Samples, grid: Grid) -> Samples:
    """Bring the values of each group to positions that its members share.

    `interpolate` goes in straight lines between the values of a member, from its first to its last; next to one that is NaN
    or infinite it is NaN. With a number of bins, which are of equal width and the same for all groups, a member has the
    mean of its values in a bin, at the bin's middle, and NaN where one of them is NaN or infinite.
    """
    if grid == EXACT or not len(points.x):
        return points
    np = package("numpy")
    tracks = list(_tracks(np, points))
    if grid == INTERPOLATE:
        moved = list(_interpolated(np, tracks))
    else:
        edges = np.linspace(float(points.x.min()), float(points.x.max()), int(grid) + 1)
        moved = [_binned(np, track, edges) for track in tracks]
    group = np.repeat([track.group for track in moved], [len(track.x) for track in moved])
    member = np.repeat([track.member for track in moved], [len(track.x) for track in moved])
    x, value = (np.concatenate([getattr(track, name) for track in moved]) for name in ("x", "value"))
    return Samples(group, member, x, value)


def is_uneven(points: Samples) -> bool:
    """Return whether the members of some group have their values at different x, so that pooling at equal x says little."""
    np = package("numpy")
    return any(_is_uneven(np, tracks) for tracks in _by_group(_tracks(np, points)))


@dataclass(frozen=True)
class _Track:
    """The values of one member in one group, in the order of x; of equal x the later value counts."""

    group: int
    member: int
    x: Any
    value: Any


def _tracks(np: Any, points: Samples) -> Iterator[_Track]:
    order = np.lexsort((points.x, points.member, points.group))  # stable: the later value comes last
    group, member, x = points.group[order], points.member[order], points.x[order]
    is_next = (group[1:] != group[:-1]) | (member[1:] != member[:-1])
    is_last = np.append(is_next | (x[1:] != x[:-1]), True)[: len(x)]
    starts = np.concatenate(([0], np.flatnonzero(is_next) + 1, [len(x)])) if len(x) else [0]
    for start, end in pairwise(starts):
        own = order[start:end][is_last[start:end]]
        yield _Track(int(group[start]), int(member[start]), points.x[own], points.value[own])


def _by_group(tracks: Iterator[_Track] | list[_Track]) -> Iterator[list[_Track]]:
    """Yield the tracks of each group; those of one group come one after the other."""
    group: list[_Track] = []
    for track in tracks:
        if group and group[0].group != track.group:
            yield group
            group = []
        group.append(track)
    if group:
        yield group


def _is_uneven(np: Any, tracks: list[_Track]) -> bool:
    if len(tracks) == 1:
        return False
    positions = np.unique(np.concatenate([track.x for track in tracks]))
    firsts = np.searchsorted(positions, [track.x[0] for track in tracks])
    lasts = np.searchsorted(positions, [track.x[-1] for track in tracks])
    counts = np.array([len(track.x) for track in tracks])
    return bool((counts < _ALIKE * (lasts - firsts + 1)).any())


def _interpolated(np: Any, tracks: list[_Track]) -> Iterator[_Track]:
    for group in _by_group(tracks):
        positions = np.unique(np.concatenate([track.x for track in group]))
        if len(positions) > _MOST_POSITIONS:
            positions = np.linspace(positions[0], positions[-1], _MOST_POSITIONS)
        for track in group:
            first, last = track.x[0], track.x[-1]
            own = positions[(positions >= first) & (positions <= last)]
            if not len(own):  # a member between two positions takes the nearest
                own = positions[[np.abs(positions - first).argmin()]]
            with np.errstate(invalid="ignore"):
                value = np.interp(own, track.x, np.where(np.isfinite(track.value), track.value, np.nan))
            yield _Track(track.group, track.member, own, value)


def _binned(np: Any, track: _Track, edges: Any) -> _Track:
    bins = len(edges) - 1
    number = np.clip(np.searchsorted(edges, track.x, side="right") - 1, 0, bins - 1)
    counts = np.bincount(number, minlength=bins)
    finite = np.where(np.isfinite(track.value), track.value, np.nan)
    has_values = counts > 0
    sums = np.bincount(number, weights=finite, minlength=bins)
    middles = (edges[:-1] + edges[1:]) / 2
    return _Track(track.group, track.member, middles[has_values], sums[has_values] / counts[has_values])
