"""`mlv lake`: what a build did, what a lake holds, and whether it is what the logs say."""

from __future__ import annotations

import sys

from rich.text import Text

from mlv import lake, words
from mlv.cli.blocks import Listing
from mlv.cli.screen import Screen, print_json, say
from mlv.lake import Built

_MOST_NAMED = 20


def build(src: str, url: str, on: str | None, *, every_s: float | None, everything: bool, moved: bool, as_json: bool) -> None:
    """Build a lake, and print what was done."""
    lake.build(
        src, url, on, everything=everything, moved=moved, every_s=every_s, report=lambda built: _report(src, built, as_json)
    )


def rebuild(src: str, url: str, on: str | None, *, as_json: bool) -> None:
    """Build a lake anew, and print what was done."""
    _report(src, lake.rebuild(src, url, on), as_json)


def _report(src: str, built: Built, as_json: bool) -> None:
    if as_json:
        print_json(built.to_data())
        sys.stdout.flush()  # with --every, a pipe would hold it back until the process ends
    elif not built.number:
        print(f"there is no experiment at or below {words.printable(src)} yet", flush=True)
    elif not built.plans:
        print(f"nothing new (plan {built.number})", flush=True)
    else:
        rows = ", ".join(f"{count} {name}" for name, count in built.rows.items() if count)
        replaced = f", of which {built.replaced} were replaced" if built.replaced else ""
        experiments = words.counted(built.experiments, "experiment")
        print(f"{experiments}{replaced}: {rows or 'no new rows'} (plan {built.number})", flush=True)


def info(url: str, *, with_sql: bool, as_json: bool) -> None:
    """Print the tables of a lake, or its views."""
    opened = lake.open(url)
    if with_sql:
        for view in ("metrics", "events"):
            print(f"-- {view}\n{opened.sql(view)};\n")
        return
    data = opened.info()
    if as_json:
        print_json(data)
        return
    age = "no build has ended" if data["age_s"] is None else f"{words.duration(data['age_s'])} old"
    print(f"{data['url']}: {age}, {words.counted(data['plans'], 'plan')}")
    headings = [Text(heading) for heading in ("table", "rows", "files", "size", "address")]
    rows = [
        [Text(name), Text(str(own["rows"])), Text(str(own["files"])), Text(words.size(own["bytes"])), Text(own["uri"])]
        for name, own in data["tables"].items()
    ]
    Screen().show(Listing(headings, rows))


def check(url: str, src: str | None, *, everything: bool, as_json: bool) -> bool:
    """Print the differences between a lake and the logs; return whether there is none."""
    checked = lake.check(url, src, everything=everything)
    if as_json:
        print_json(checked.to_data())
        return not checked.differences
    for difference in checked.differences[:_MOST_NAMED]:
        print(difference)
    if len(checked.differences) > _MOST_NAMED:
        say(f"and {len(checked.differences) - _MOST_NAMED} more")
    if checked.missing:
        folders = words.counted(len(checked.missing), "folder")
        say(f"{folders} are no longer there, and their rows stay: {checked.missing[0]} ...")
    rows = ", ".join(f"{count} {name}" for name, count in checked.rows.items())
    verdict = f"{words.counted(len(checked.differences), 'difference')}" if checked.differences else "as the logs say"
    print(f"{verdict}: {words.counted(checked.experiments, 'experiment')}, {rows}")
    return not checked.differences
