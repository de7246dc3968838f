"""`mlv doctor`: what is in force, whether all that mlv relies on works here, and what to change."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict
from itertools import groupby
from pathlib import Path
from typing import Any

from rich.text import Text

from mlv import settings, words
from mlv.cli.blocks import Rows
from mlv.cli.choose import no_address
from mlv.cli.examine import CHANGE, NOTE, OK, Check, examine
from mlv.cli.installed import installed
from mlv.cli.screen import Screen, print_json, styled
from mlv.errors import InvalidArgument

_STYLES = {OK: "green", NOTE: "yellow", CHANGE: "bold red"}


def run(folder: Path | None, as_json: bool) -> bool:
    """Print the settings and the findings; whether nothing has to be changed.

    Raises:
        InvalidArgument: The folder is none.
    """
    no_address(folder, "FOLDER")
    folder = (settings.DIR.look_up().value if folder is None else folder).absolute()
    for place in (folder, *folder.parents):
        if place.exists() and not place.is_dir():
            raise InvalidArgument(f"{str(place)!r} is a file: give a folder for experiments", path=str(place))
    checks = [*examine(folder), *installed()]
    changes = [check for check in checks if check.verdict == CHANGE]
    if as_json:
        print_json(to_data(folder, checks))
        return not changes
    screen = Screen()
    screen.show(styled("settings", "bold"))
    screen.show(_settings())
    arrow = "→ " if screen.speaks_unicode else "-> "
    for part, found in groupby(checks, key=lambda check: check.part):
        if part != "settings":
            screen.show(
                Text.assemble("\n", (part, "bold"), *([f"  {words.printable(str(folder))}"] if part == "folder" else []))
            )
        screen.show(_findings(found, arrow))
    said = f"{words.counted(len(changes), 'thing')} to change" if changes else "all is well"
    screen.show(Text.assemble("\n", (said, _STYLES[CHANGE if changes else OK])))
    return not changes


def _settings() -> Rows:
    """Every setting, its value, and where that comes from."""
    rows = []
    for setting in settings.SETTINGS:
        found = setting.look_up()
        is_default = found.source == "default" or found.problem is not None
        source = f"default; {setting.env}" if is_default else found.source
        value = words.printable(settings.value_text(found.value))
        rows.append([styled(setting.key), styled(value), styled(words.printable(source), "dim")])
    return Rows(rows)


def _findings(checks: Iterable[Check], arrow: str) -> Rows:
    rows = []
    for check in checks:
        rows.append([styled(check.verdict, _STYLES[check.verdict]), styled(check.name), styled(words.printable(check.text))])
        if check.advice:
            rows.append([Text(), Text(), styled(arrow + words.printable(check.advice), "bold")])
    return Rows(rows)


def to_data(folder: Path, checks: list[Check]) -> dict[str, Any]:
    """The same for JSON."""
    return {
        "folder": str(folder),
        "settings": {one.key: {**one.look_up().to_dict(), "meaning": one.meaning} for one in settings.SETTINGS},
        "checks": [asdict(check) for check in checks],
    }
