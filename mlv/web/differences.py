"""Differences between experiments for the page: values side by side, and long texts line by line."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from difflib import SequenceMatcher
from typing import Any

from mlv.errors import InvalidArgument
from mlv.query.compare import ABSENT, differences, sections
from mlv.query.digest import Digest
from mlv.query.many.table import flat
from mlv.web.experiment import with_diff
from mlv.web.plain import as_text, plain, shortened

MOST = 20
"""Experiments that are compared at once."""
_STATS = ("value", "last", "min", "max", "mean", "count", "nans")
_MOST_ROWS = 2000
_MOST_LINES, _CONTEXT = 5000, 3
_LONG_TEXT, _LONGEST_VALUE = 300, 2000


def compared(digests: Sequence[Digest]) -> dict[str, Any]:
    """Return what is not equal in all experiments, which have their whole meta.json.

    Raises:
        InvalidArgument: There is only one, or there are too many.
    """
    if not 2 <= len(digests) <= MOST:
        raise InvalidArgument(f"{len(digests)} experiments: compare 2 to {MOST}", ids=[digest.id for digest in digests])
    every = [_sections(digest) for digest in digests]
    tables, diffs = [], []
    for section in every[0]:
        mappings = [own[section] for own in every]
        differing = differences(mappings)
        equal = len({name for mapping in mappings for name in mapping}) - len(differing)
        texts = {name: values for name, values in differing.items() if _are_long_texts(values)}
        diffs += [diff for name, values in texts.items() for diff in _diffs(digests, section, name, values)]
        rows = [_row(name, values) for name, values in differing.items() if name not in texts]
        if section == "metrics":
            rows, equal = _metric_rows(digests)
        tables.append({"name": section, "equal": equal, "rows": rows[:_MOST_ROWS], "left_out": max(0, len(rows) - _MOST_ROWS)})
    names = {"ids": [digest.id for digest in digests], "names": [digest.name for digest in digests]}
    return as_text({**names, "sections": tables, "diffs": diffs})


def _sections(digest: Digest) -> dict[str, dict[str, Any]]:
    """Return the values that are compared: those of `mlv compare`, the environment, and the notes."""
    own = sections(digest)
    own["git"] = {name: value for name, value in own["git"].items() if not name.startswith("diff.")}
    text = with_diff(digest).get("diff", {}).get("text")
    own["git"] |= {"diff": text} if text else {}
    env = {key: value for key, value in digest.captured("env").items() if key != "packages"}
    variables = env.pop("variables", None)
    own_env = {**(variables if isinstance(variables, Mapping) else {}), **dict(flat(env))}
    return {"params": own.pop("params"), "notes": {"notes": "\n".join(digest.notes)}, "env": own_env, **own}


def _row(name: str, values: Sequence[Any]) -> dict[str, Any]:
    shown = [None if value is ABSENT else shortened(plain(value), _LONGEST_VALUE) for value in values]
    return {"name": name, "values": shown, "absent": [at for at, value in enumerate(values) if value is ABSENT]}


def _metric_rows(digests: Sequence[Digest]) -> tuple[list[dict[str, Any]], int]:
    """Return a row of each metric of which a number differs, and the number of those without one."""
    by_stat = [
        {(name, stat): getattr(summary, stat) for name, summary in digest.metrics.items() for stat in _STATS}
        for digest in digests
    ]
    names = dict.fromkeys(name for digest in digests for name in digest.metrics)
    differing = dict.fromkeys(name for name, _ in differences(by_stat))
    rows = []
    for name in differing:
        row = _row(name, [own.get((name, "value"), ABSENT) for own in by_stat])
        stats = {stat: [plain(own.get((name, stat))) for own in by_stat] for stat in _STATS if stat != "value"}
        rows.append({**row, "stats": stats})
    return rows, len(names) - len(rows)


def _are_long_texts(values: Sequence[Any]) -> bool:
    texts = [value for value in values if isinstance(value, str)]
    is_long = any("\n" in text or len(text) > _LONG_TEXT for text in texts)
    return is_long and all(isinstance(value, str) or value is ABSENT or value is None for value in values)


def _diffs(digests: Sequence[Digest], section: str, name: str, values: Sequence[Any]) -> Iterator[dict[str, Any]]:
    """Yield the differences of a text from that of the first experiment, for each in which it is another."""
    first, *others = (value if isinstance(value, str) else "" for value in values)
    for digest, text in zip(digests[1:], others, strict=True):
        if text != first:
            hunks, is_cut = lines_apart(first, text)
            yield {"section": section, "name": name, "a": digests[0].id, "b": digest.id, "cut": is_cut, "hunks": hunks}


def lines_apart(before: str, after: str) -> tuple[list[dict[str, Any]], bool]:
    """Return the lines that differ, each run of them with a few equal ones around it, and whether the texts were cut."""
    a, b = (text.splitlines() for text in (before, after))
    is_cut = max(len(a), len(b)) > _MOST_LINES
    a, b = a[:_MOST_LINES], b[:_MOST_LINES]
    hunks = []
    for group in SequenceMatcher(None, a, b).get_grouped_opcodes(_CONTEXT):
        lines: list[list[str]] = []
        for tag, a_begin, a_end, b_begin, b_end in group:
            if tag == "equal":
                lines += [[" ", shortened(line, _LONGEST_VALUE)] for line in a[a_begin:a_end]]
                continue
            lines += [["-", shortened(line, _LONGEST_VALUE)] for line in a[a_begin:a_end]]
            lines += [["+", shortened(line, _LONGEST_VALUE)] for line in b[b_begin:b_end]]
        hunks.append({"a": group[0][1] + 1, "b": group[0][3] + 1, "lines": lines})
    return hunks, is_cut
