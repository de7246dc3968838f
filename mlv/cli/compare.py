"""`mlv compare`: the differences between experiments, side by side."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.text import Text

from mlv import words
from mlv.cli.blocks import Listing
from mlv.cli.screen import MOST_ROWS, Screen, print_json, progress, say, say_more, styled
from mlv.errors import InvalidArgument
from mlv.query.compare import ABSENT, Difference, compare, compare_many
from mlv.query.digest import Digest, read_digest
from mlv.store.meta import read_meta


def run_many(labels: Mapping[Path, Path], as_json: bool) -> None:
    """Print the values that are not the same in all experiments, a column for each experiment.

    Args:
        labels: Folders of the experiments, and their names in the output.
        as_json: Whether to print a JSON object per experiment, without the values that it lacks.

    Raises:
        NotAnExperiment: A folder has no readable meta.json.
        InvalidArgument: There is only one.
    """
    if len(labels) < 2:
        raise InvalidArgument(f"{next(iter(labels.values()), '')} is the only experiment: name another to compare it with")
    digests = {folder: _digest(folder) for folder in progress(list(labels), "reading experiments")}
    differences = compare_many(list(digests.values()))
    if as_json:
        for folder, digest in digests.items():
            own = {section: dict(_values_at(rows, list(digests).index(folder))) for section, rows in differences.items()}
            print_json({"path": folder, "id": digest.id, "differs": own})
    elif not differences:
        say(f"all {len(labels)} have equal params, git, packages, machine and final metrics")
    else:
        _show([str(label) for label in labels.values()], differences)


def _values_at(rows: Mapping[str, Sequence[Any]], number: int) -> Iterator[tuple[str, Any]]:
    return ((name, values[number]) for name, values in rows.items() if values[number] is not ABSENT)


def run(a: Path, b: Path, as_json: bool) -> None:
    """Print the differences between two experiments.

    Raises:
        NotAnExperiment: A folder has no readable meta.json.
    """
    first, second = _digest(a), _digest(b)
    differences = compare(first, second)
    if as_json:
        differing = {section: {name: _sides(pair) for name, pair in pairs.items()} for section, pairs in differences.items()}
        print_json({"a": {"path": a, "id": first.id}, "b": {"path": b, "id": second.id}, "differs": differing})
        return
    if not differences:
        say(f"{a} and {b} have equal params, git, packages, machine and final metrics")
        return
    _show([first.name, second.name], differences)


def _show(names: Sequence[str], differences: Mapping[str, Mapping[str, Sequence[Any]]]) -> None:
    rows = [
        [styled(section, "bold"), styled(words.printable(name)), *_cells(values, section)]
        for section, entries in differences.items()
        for name, values in entries.items()
    ]
    headings = [styled(words.printable(heading)) for heading in ("", "", *names)]
    Screen().show(Listing(headings, rows[:MOST_ROWS], titles=2))
    say_more(len(rows))


def _digest(folder: Path) -> Digest:
    meta = read_meta(folder)
    return read_digest(folder, meta.id, meta.content)


def _sides(pair: Difference) -> dict[str, Any]:
    return {side: value for side, value in pair._asdict().items() if value is not ABSENT}


def _cells(values: Sequence[Any], section: str) -> list[Text]:
    """Return the cells of a row: metrics in few digits where these still differ, settings in all digits."""
    present = [value for value in values if value is not ABSENT]
    are_distinct = len({words.number(value) for value in present}) == len({words.exact(value) for value in present})
    show = words.number if are_distinct and section == "metrics" else words.exact
    return [styled("absent", "dim") if value is ABSENT else styled(show(value)) for value in values]
