"""The rewinds of an experiment, and the events that survive them.

A `rewound` event supersedes the events with a greater step of the runs that it names, up to the `seq` that it names for each.
Events of a type that has no step, or were logged without one, are never superseded. Nothing is removed from the log.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from mlv import wire
from mlv.encoding import event_from_line, loads, shown
from mlv.errors import InvalidArgument
from mlv.events import Rewound
from mlv.optional import package
from mlv.state import Rewind, fold
from mlv.store import layout
from mlv.store.reading import Lines
from mlv.store.seals import run_and_seq

SURVIVING, ALL = "surviving", "all"


def checked_branches(branches: object) -> str:
    """Accept a choice of branches.

    Raises:
        InvalidArgument: It is neither `surviving` nor `all`.
    """
    if branches not in (SURVIVING, ALL):
        raise InvalidArgument(f"branches={shown(branches)}: give 'surviving' or 'all'", branches=branches)
    return str(branches)


def rewinds_of(folder: Path, branches: str = SURVIVING, cut: Mapping[str, int] | None = None) -> list[Rewind]:
    """Return the rewinds that count, in the order of their times; none where all branches are requested.

    Args:
        folder: Of the experiment.
        branches: `surviving` or `all`.
        cut: The last `seq` of each run that counts.
    """
    if branches == ALL:
        return []
    # Rewinds have a stream of their own: where nobody rewound, no log has to be searched for them.
    streams = [name for name in layout.streams_in(folder) if layout.logical_stream(name) == layout.REWOUND]
    rewinds = fold(sorted(Lines(folder, streams, (Rewound.TYPE,)), key=lambda event: event.time)).rewinds
    return [rewind for rewind in rewinds if cut is None or rewind.seq <= cut.get(rewind.run, 0)]


def is_superseded(rewinds: Iterable[Rewind], run: str, seq: int, step: Any) -> bool:
    """Return whether one of the rewinds supersedes an event."""
    return any(rewind.supersedes(run, seq, step) for rewind in rewinds)


def is_superseded_line(rewinds: Iterable[Rewind], line: bytes) -> bool:
    """Return whether one of the rewinds supersedes the event in a line of the log; False for a line that is no event."""
    if wire.STEP not in line:
        return False
    who = run_and_seq(line)
    covering = [rewind for rewind in rewinds if who is not None and who[1] <= rewind.last.get(who[0], 0)]
    if not covering:
        return False
    try:
        # Only steps that are not finite need the whole event: they stand in `nonfinite`, beside the other fields.
        step = event_from_line(line, "").step if wire.NONFINITE in line else loads(line).get("step")
    except ValueError:
        return False  # damaged
    return any(rewind.is_greater(step) for rewind in covering)


def surviving_rows(table: Any, rewinds: Sequence[Rewind]) -> Any:
    """Return the rows of a table of `mlv.query.metrics.schema` that no rewind supersedes."""
    if not rewinds or not table.num_rows:
        return table
    pa, np = package("pyarrow"), package("numpy")
    runs = table["run"].cast(pa.string()).combine_chunks().dictionary_encode()
    runs = runs.combine_chunks() if isinstance(runs, pa.ChunkedArray) else runs
    names, codes = runs.dictionary.to_pylist(), np.asarray(runs.indices)
    seq, step = table["seq"].to_numpy(), table["step"].to_numpy()
    # Floats do not hold these, and round them to the other side of the step that is rewound to.
    odd = _exact_steps(table["step_text"])
    gone = np.zeros(table.num_rows, bool)
    for rewind in rewinds:
        last = np.asarray([rewind.last.get(name, 0) for name in names], np.int64)[codes]
        is_greater = step > rewind.step
        for row, exact in odd.items():
            is_greater[row] = rewind.is_greater(exact)
        gone |= (seq <= last) & is_greater
    return table.filter(pa.array(~gone))


def _exact_steps(texts: Any) -> dict[int, Any]:
    """Return the steps that no float holds, by row number."""
    if texts.null_count == len(texts):
        return {}
    return {row: loads(text) for row, text in enumerate(texts.to_pylist()) if text is not None}


def rewound(folder: Path, step: Any) -> Rewound:
    """Return the event that rewinds an experiment to a step: the last `seq` of each run that it supersedes.

    Raises:
        InvalidArgument: The step is no finite number, or no surviving event has reached it.
    """
    if isinstance(step, bool) or not isinstance(step, (int, float)) or step - step != 0:
        raise InvalidArgument(f"rewind_to={shown(step)} is no step: give a number, such as that of a checkpoint", step=step)
    rewinds = rewinds_of(folder)
    last: dict[str, int] = {}
    reached: dict[str, float] = {}
    lines = Lines(folder, layout.streams_in(folder))
    for stream in lines.streams:
        for _, line in lines.raw(stream):
            who = run_and_seq(line)
            if who is None:
                continue
            run, seq = who
            # Also of lines without a step, and of lines that a rewind superseded: the numbers only grow.
            last[run] = max(seq, last.get(run, 0))
            line_step = _step(line)
            if line_step is not None and not is_superseded(rewinds, run, seq, line_step):
                reached[run] = max(line_step, reached.get(run, line_step))
    _refuse_beyond(folder, step, max(reached.values(), default=None))
    return Rewound(step, {run: last[run] for run, most in reached.items() if most > step})


def _step(line: bytes) -> float | None:
    """Return the step of a line; None where it has none, or one that is no number."""
    if wire.STEP not in line:
        return None
    try:
        step = loads(line).get("step")
    except (ValueError, AttributeError):
        return None  # damaged
    return step if type(step) is int or type(step) is float else None


def _refuse_beyond(folder: Path, step: float, most: float | None) -> None:
    if most is None:
        raise InvalidArgument(f"rewind_to={step}: nothing in {folder} has a step, there is nothing to go back to", step=step)
    if step > most:
        raise InvalidArgument(f"rewind_to={step}: {folder} has only come to step {most}: give that or less", step=step)
