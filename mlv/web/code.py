"""The lines of Python, SQL and shell that make the table or the charts of a view. Pure functions."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from shlex import quote
from typing import Any
from urllib.parse import unquote

import orjson

from mlv.media.kinds import KINDS
from mlv.query.digest import STATS
from mlv.query.sql.engine import identifier, literal
from mlv.store import layout
from mlv.web.plain import as_text, asof

_COLUMNS = {"duration": "duration_s", "age": "started"}
"""Columns of the page that have another name in SQL and in lists."""
_METRIC = re.compile(rf"metrics\.(.*?)(?:\.({'|'.join(('value', *STATS))}))?")
_LEVEL = re.compile(r'"((?:[^"]|"")*)"|([^."]+)')
_USUAL = ["name", "status", "duration", "created"]
"""Columns where the address names none: it leaves their choice to the page."""
_ID = re.compile(r"[0-9a-f]{1,12}")
"""Digits of an ID in an address."""
_CURVE_ROWS = "exp_name, exp, name, step, time, value"


@dataclass(frozen=True)
class Code:
    """Lines in three languages; those that a view has none of are None."""

    python: str
    sql: str | None = None
    shell: str | None = None
    notes: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class _View:
    """A view, as its address describes it."""

    root: Path | str
    query: Mapping[str, str]
    source: Mapping[str, Any]
    """Where the list is read from, as `mlv.find` takes it: `lake=`, `fresh=`, or nothing."""

    def get(self, name: str) -> str:
        return self.query.get(name, "")

    def items(self, name: str) -> list[str]:
        """Return the items of a list; a comma within one is escaped once more."""
        return [unquote(item) for item in self.get(name).split(",") if item]

    @property
    def ids(self) -> list[str]:
        """The digits of the experiments that are named one by one."""
        named = self.items("ids") or [pick.partition(".")[0] for pick in self.items("pick")]
        return [digits for digits in map(_digits, named) if digits]

    @property
    def root_text(self) -> str:
        return as_text(str(self.root))

    @property
    def source_words(self) -> list[str]:
        """The options of the command line that say the same as `source`."""
        return [f"--{name}" if value is True else f"--{name}={quote(as_text(value))}" for name, value in self.source.items()]

    @property
    def condition(self) -> str:
        """The predicate that chooses the experiments of the charts; '' for all."""
        return _among("id", self.ids) if self.ids else self.where

    @property
    def where(self) -> str:
        """The predicate of the list: its filter, and the ranges on the axes of parallel coordinates."""
        ranges = [condition for item in self.items("brush") for condition in _between(item)]
        if not ranges:
            return self.get("where")
        return " and ".join([*([f"({self.get('where')})"] if self.get("where") else []), *ranges])

    def number(self, name: str) -> float | None:
        try:
            return float(self.get(name)) if self.get(name) else None
        except ValueError:
            return None


def code(root: Path | str, query: Mapping[str, str], **source: Any) -> Code:
    """Return the lines for the view of an address.

    Args:
        root: The folder of the experiments, or the URL of a bucket.
        query: The parts of the address; those that it does not know are passed over.
        source: `lake=` or `fresh=True`, where a lake has the list, or a reader has asked for the logs in place of it.
    """
    view = _View(root, query, source)
    if _digits(view.get("exp")):
        return _of_experiment(view)
    make = _PANELS.get(view.get("panel"), _charts)
    return make(view)


def _digits(text: str) -> str:
    """Return the digits of an ID that a text begins with."""
    match = _ID.match(text)
    return match[0] if match is not None else ""


def _among(column: str, ids: Sequence[str]) -> str:
    length = min(map(len, ids))
    listed = ", ".join(literal(identity[:length]) for identity in ids)
    return f"left({column}, {length}) in ({listed})"


def _python(value: object) -> str:
    """Return a text, a number or a list as it is written in Python."""
    if isinstance(value, bool):
        return str(value)
    return orjson.dumps(value).decode() if not isinstance(value, (int, float)) else f"{value:g}"


def _call(name: str, *arguments: object, **options: object) -> str:
    words = [
        *map(_python, arguments),
        *(f"{key}={_python(value)}" for key, value in options.items() if value not in ("", None)),
    ]
    return f"{name}({', '.join(words)})"


def _found(view: _View, condition: str) -> str:
    return f"import mlv\n\nexps = {_find(view, condition)}\n"


def _find(view: _View, condition: str = "") -> str:
    return _call("mlv.find", view.root_text, where=condition, **view.source)


def _notes(view: _View) -> list[str]:
    notes = []
    if view.get("q"):
        notes.append("The words of the search box are left out: they are searched by the page alone.")
    if view.get("asof") and not view.get("exp"):
        notes.append("The lines show the present. For one experiment, exp.as_of(time=...) shows a moment.")
    return notes


# The table.


def _column(name: str) -> str:
    """Return a column of the page as SQL names it."""
    if name.startswith("metrics.") and (match := _METRIC.fullmatch(name)):
        return f"metrics.{identifier(match[1])}.{match[2] or 'value'}"
    if name.startswith("params."):
        levels = [inner.replace('""', '"') if inner else plain for inner, plain in _LEVEL.findall(name)]
        return ".".join(map(identifier, levels))
    return _COLUMNS.get(name, name)


def _between(item: str) -> list[str]:
    """Return the predicate of a range, as `column:from:to`; a colon within an end is escaped once more."""
    match = re.fullmatch("(.+):([^:]+):([^:]+)", item)
    if match is None:
        return []
    low, high = (_plain_number(unquote(end)) or literal(unquote(end)) for end in match.group(2, 3))
    return [f"{_column(match[1])} between {low} and {high}"]


def _plain_number(text: str) -> str:
    """Return a text that is a finite number, '' for another one."""
    try:
        return text if math.isfinite(float(text)) else ""
    except ValueError:
        return ""


def _aliased(name: str) -> str:
    column = _column(name)
    return f'{column} as "{name}"'.replace(f' as "{column}"', "") if "." in column else column


def _select(view: _View, names: Sequence[str]) -> str:
    """Return the table as a query."""
    order = [_order(item) for item in view.items("sort")] or ["created desc"]
    lines = [f"select {', '.join(map(_aliased, names))}", "from experiments"]
    lines += [f"where {view.where}"] if view.where else []
    return "\n".join([*lines, f"order by {', '.join(order)}"])


def _order(item: str) -> str:
    return f"{_column(item.removeprefix('-'))}{' desc' if item.startswith('-') else ''} nulls last"


def _list_command(view: _View, names: Sequence[str]) -> str:
    words = ["mlv", "ls", quote(view.root_text), *view.source_words]
    words += ["--where", quote(view.where)] if view.where else []
    words += [f"--sort={quote(_listed(item))}" for item in view.items("sort")[:1]]
    words += ["--columns", quote(",".join(map(_listed, names)))]
    return " ".join([*words, *(["--all"] if view.get("archived") == "1" else [])])


def _listed(item: str) -> str:
    """Return a column of the page as `mlv ls` names it."""
    sign, name = ("-", item[1:]) if item.startswith("-") else ("", item)
    return f"{sign}{_COLUMNS.get(name, name)}"


def _table(view: _View, names: Sequence[str]) -> Code:
    notes = _notes(view)
    if view.get("archived") != "1":
        notes.append("Python and SQL have the archived experiments too.")
    if len(view.items("sort")) > 1:
        notes.append("mlv ls sorts by one column.")
    python = f"{_found(view, view.where)}table = exps.frame(stats={_python(list(STATS))})\n"
    return Code(python, _select(view, names), _list_command(view, names), notes)


# Charts, and the other panels.


def _charts(view: _View) -> Code:
    table = _table(view, view.items("cols") or _USUAL)
    metrics = view.items("m") or (["*"] if view.ids else [])
    if not metrics:
        return table
    chart = _plot(view, metrics)
    return Code(
        f"{table.python}\n{chart.python}",
        f"{table.sql};\n\n{chart.sql}",
        f"{table.shell}\n{chart.shell}",
        list(dict.fromkeys([*table.notes, *chart.notes])),
    )


def _plot(view: _View, metrics: Sequence[str]) -> Code:
    over, notes = view.items("over"), _notes(view)
    zoom = [float(end) for end in view.items("zoom")] if view.get("zoom") else None
    log = "y" if view.get("y") == "log" else ""
    x, smooth = view.get("x") or "step", view.number("smooth")
    axis = "" if x == "step" else x
    patterns = [_pattern(name) for name in metrics]
    python = _call("exps.plot", patterns, x=axis, over=over, smooth=smooth or "", log=log, xlim=zoom, reruns="all")
    found = _found(view, view.condition) if view.ids else ""
    words = ["mlv", "plot", *(view.ids or [quote(view.root_text)]), *(f"--metric={quote(name)}" for name in patterns)]
    words += [f"--x={quote(x)}"] if axis else []
    words += [f"--over={quote(name)}" for name in over]
    words += [f"--smooth={smooth:g}"] if smooth else []
    words += [f"--log={log}"] if log else []
    words += [f"--xlim={zoom[0]:g}:{zoom[1]:g}"] if zoom and len(zoom) == 2 else []
    words += ["--reruns=all", *([f"--root={quote(view.root_text)}"] if view.ids else [])]
    if not over:
        notes.append("mlv plot pools experiments that differ in seed alone; the page draws each.")
    if smooth and not over:
        notes.append("The page smooths by the distance of the points in x, plot point by point: equal where they are even.")
    if view.where and not view.ids:
        notes.append("mlv plot takes all experiments below the folder.")
    condition = _among("exp", view.ids) if view.ids else _exps_where(view)
    return Code(f"{found}{python}\n", _curve_rows(condition, metrics), " ".join(words), notes)


def _exps_where(view: _View) -> str:
    where = view.where
    return f"exp in (select id from experiments where {where})" if where else ""  # noqa: S608 - the reader's own


def _curve_rows(condition: str, metrics: Sequence[str]) -> str:
    names = " or ".join(map(_name_condition, metrics))
    where = " and ".join(filter(None, [condition, f"({names})" if len(metrics) > 1 else names]))
    return f"select {_CURVE_ROWS}\nfrom metrics{f'{chr(10)}where {where}' if where else ''}\norder by exp, name, time, seq"


def _pattern(name: str) -> str:
    """Return a pattern of the page, whose star reaches over slashes, in the form of Python and the shell."""
    return re.sub(r"(?<![^/])\*(?![^/])", "**", name)


def _name_condition(pattern: str) -> str:
    if "*" not in pattern and "?" not in pattern:
        return f"name = {literal(pattern)}"
    return f"name glob {literal(pattern.replace('[', '[[]'))}"


def _compare(view: _View) -> Code:
    python = f"{_found(view, view.condition)}differences = exps.compare_many()\n"
    words = ["mlv", "compare", *view.ids, f"--root={quote(view.root_text)}"]
    return Code(python, None, " ".join(words) if view.ids else None, _notes(view))


def _axes(view: _View) -> Code:
    return _table(view, ["name", *view.items("axes")] if view.get("axes") else view.items("cols") or _USUAL)


def _sql(view: _View) -> Code:
    text = view.get("sql").strip() or "select name, status from experiments"
    python = f"import mlv\n\nresult = {_find(view)}.sql({_python(text)})\nprint(result.df())\n"
    return Code(python, text, " ".join(["mlv", "sql", quote(view.root_text), *view.source_words, quote(text)]), [])


def _media(view: _View) -> Code:
    python = (
        f"{_found(view, view.condition)}for exp in exps:\n    for event in exp.events({_python(_MEDIA)}):\n"
        "        print(exp.name, event.step, event.type, event.name, event.data)\n"
    )
    types = ", ".join(map(literal, _MEDIA))
    condition = " and ".join(filter(None, [_among("exp", view.ids) if view.ids else _exps_where(view), f"type in ({types})"]))
    sql = f"select exp_name, step, type, name, data\nfrom events\nwhere {condition}\norder by exp, type, name, time, seq"
    return Code(python, sql, None, _notes(view))


_MEDIA = list(KINDS)
_PANELS: dict[str, Callable[[_View], Code]] = {
    "compare": _compare, "parallel": _axes, "scatter": _axes, "sql": _sql, "media": _media,
}  # fmt: skip


# One experiment.


def _of_experiment(view: _View) -> Code:
    identity, root, tab = _digits(view.get("exp")), quote(view.root_text), view.get("tab") or "overview"
    opened = f"import mlv\n\n[exp] = {_find(view, _among('id', [identity]))}\n"
    moment = asof(view.query)
    source, is_past, time = "exp", moment is not None, "" if moment is None else moment.isoformat()
    if is_past:
        opened += f"past = {_call('exp.as_of', time=time)}\n"
        source = "past"
    of_exp = _among("exp", [identity])
    until = f" and time <= {literal(time)}" if is_past else ""
    notes = ["The shell shows the present."] if is_past else []
    tail = f"mlv tail {identity} --root={root}"
    if tab in ("charts", "system"):
        metrics = view.items("m")
        if tab == "system":
            sql = f"select time, data\nfrom events\nwhere {of_exp}{until} and type = 'system'\norder by time"
            return Code(f'{opened}table = {source}.frame("system")\n', sql, f"{tail} --type=system", notes)
        patterns = [_pattern(name) for name in metrics] or ["**"]
        plot = " ".join(["mlv", "plot", identity, *(f"--metric={quote(name)}" for name in patterns), f"--root={root}"])
        history = f"{source}.history({_python(patterns[0]) if len(patterns) == 1 else ''})"
        return Code(f"{opened}table = {history}\n", _curve_rows(of_exp + until, metrics or ["*"]), plot, notes)
    if tab in ("events", "console", "media", "files"):
        return _events(view, tab, opened, source, of_exp + until, tail, notes)
    sql = f"select *\nfrom experiments\nwhere {_among('id', [identity])}"
    python = f"print({source}.params, {source}.status)\nprint({source}.summary())\n"
    return Code(f"{opened}{python}", sql, f"mlv show {identity} --root={root}", notes)


def _events(view: _View, tab: str, opened: str, source: str, of_exp: str, tail: str, notes: list[str]) -> Code:
    """Return the lines for a list of events."""
    types = {"events": view.items("type"), "console": ["message"], "media": _MEDIA, "files": ["file", "checkpoint"]}[tab]
    stream = layout.CONSOLE_STREAM if tab == "console" else None
    arguments: Iterable[object] = [types] if types else []
    call = _call(f"{source}.events", *arguments, stream=stream)
    shown = {"console": "event.data", "files": "event.type, event.name, event.data"}.get(tab, "event")
    python = f"{opened}for event in {call}:\n    print({shown})\n"
    conditions = [of_exp, *([f"type in ({', '.join(map(literal, types))})"] if types else [])]
    conditions += [f"stream = {literal(stream)}"] if stream else []
    sql = f"select time, type, name, step, data\nfrom events\nwhere {' and '.join(conditions)}\norder by time, seq"
    if tab == "files":
        sql = f"select place, path, size, sha256\nfrom files\nwhere {of_exp}\norder by time, seq"
    words = [tail, *(f"--stream={stream}" for _ in [0] if stream), *(f"--type={quote(name)}" for name in types)]
    if view.get("find"):
        notes = [*notes, "The words that are searched for are left out."]
    return Code(python, sql, " ".join(words), notes)
