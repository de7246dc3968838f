"""`mlv doctor`: print the settings in force, test everything that mlv relies on, and name the changes to make.

For the URL of a bucket: try what the store promises, and name the uses that are safe.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict
from itertools import groupby
from pathlib import Path
from typing import Any

from rich.text import Text

from mlv import settings, words
from mlv.bucket import probe
from mlv.bucket.store import open_store
from mlv.cli.blocks import Rows
from mlv.cli.choose import no_address
from mlv.cli.examine import CHANGE, NOTE, OK, Check, examine
from mlv.cli.installed import installed
from mlv.cli.screen import Screen, print_json, styled
from mlv.errors import InvalidArgument

_STYLES = {OK: "green", NOTE: "yellow", CHANGE: "bold red"}


def run_on_bucket(url: str, as_json: bool) -> bool:
    """Print what a store promises and which uses are safe, and return whether shipping is.

    Raises:
        InvalidArgument: The URL is none.
        MissingExtra: The client of object stores is not installed.
        BucketError: The client cannot be made of the settings.
    """
    store = open_store(url)
    outcome = probe.probe(store)
    if as_json:
        uses = {use.name: {"safe": use.is_safe, "missing": use.missing} for use in outcome.uses}
        print_json({"url": store.url, "checks": [asdict(check) for check in map(_check, outcome.traits)], "uses": uses})
        return outcome.ship.is_safe
    screen = Screen()
    arrow = "→ " if screen.speaks_unicode else "-> "
    screen.show(Text.assemble(("bucket", "bold"), f"  {words.printable(store.url)}"))
    screen.show(_findings(map(_check, outcome.traits), arrow))
    screen.show(styled("\nsafe", "bold"))
    screen.show(_findings((_check_of_use(use, outcome) for use in outcome.uses), arrow))
    return outcome.ship.is_safe


def _check(trait: probe.Trait) -> Check:
    worst = NOTE if trait.name in probe.CONDITIONAL else CHANGE
    return Check("bucket", trait.name, trait.text, (NOTE if trait.advice else OK) if trait.holds else worst, trait.advice)


def _check_of_use(use: probe.BucketUse, outcome: probe.ProbeOutcome) -> Check:
    if use.is_safe:
        return Check("safe", use.name, "yes")
    return Check("safe", use.name, f"no: {', '.join(use.missing)}", NOTE if outcome.ship.is_safe else CHANGE)


def run(path: str | None, as_json: bool) -> bool:
    """Print the settings and the findings, and return whether nothing has to be changed.

    Raises:
        InvalidArgument: The path is no folder.
    """
    no_address(path, "FOLDER")
    folder = (settings.DIR.look_up().value if path is None else Path(path)).absolute()
    for ancestor in (folder, *folder.parents):
        if ancestor.exists() and not ancestor.is_dir():
            raise InvalidArgument(f"{str(ancestor)!r} is a file: give a folder for experiments", path=str(ancestor))
    checks = [*examine(folder), *installed()]
    changes = [check for check in checks if check.verdict == CHANGE]
    if as_json:
        print_json(to_data(folder, checks))
        return not changes
    screen = Screen()
    screen.show(styled("settings", "bold"))
    screen.show(_settings())
    arrow = "→ " if screen.speaks_unicode else "-> "
    for section, group in groupby(checks, key=lambda check: check.part):
        if section != "settings":
            screen.show(
                Text.assemble("\n", (section, "bold"), *([f"  {words.printable(str(folder))}"] if section == "folder" else []))
            )
        screen.show(_findings(group, arrow))
    summary = f"{words.counted(len(changes), 'thing')} to change" if changes else "all is well"
    screen.show(Text.assemble("\n", (summary, _STYLES[CHANGE if changes else OK])))
    return not changes


def _settings() -> Rows:
    """Return a row for each setting: its name, its value and the source of the value."""
    rows = []
    for setting in settings.SETTINGS:
        lookup = setting.look_up()
        is_default = lookup.source == "default" or lookup.problem is not None
        source = f"default; {setting.env}" if is_default else lookup.source
        value = words.printable(settings.value_text(lookup.value))
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
    """Return the settings and the findings as a mapping for JSON."""
    return {
        "folder": str(folder),
        "settings": {setting.key: {**setting.look_up().to_dict(), "meaning": setting.meaning} for setting in settings.SETTINGS},
        "checks": [asdict(check) for check in checks],
    }
