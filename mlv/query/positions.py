"""Numbers for values that were logged without a step: their positions in their series, from 0."""

from __future__ import annotations

from typing import Any

from mlv.optional import package


def numbered(steps: Any, series: Any) -> Any:
    """The steps of values in the order in which they were logged, where a series of which none has one counts from 0.

    Args:
        steps: NaN where there is none.
        series: For each value the number of its series.
    """
    np = package("numpy")
    is_bare = np.isnan(steps)
    if not is_bare.any():
        return steps
    has_steps = np.zeros(int(series.max()) + 1, bool)
    has_steps[series[~is_bare]] = True
    values = np.flatnonzero(~has_steps[series])
    values = values[np.argsort(series[values], kind="stable")]
    own = series[values]
    found = steps.copy()
    found[values] = np.arange(len(values)) - np.searchsorted(own, own)
    return found
