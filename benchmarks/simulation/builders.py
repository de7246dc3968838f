"""All that two builders of one lake can do at once, with a crash after any step: is each row in each table exactly once?

Every interleaving is visited. A step is what a store does at once: open a table, create a plan, write files, commit. A crash
forgets what a builder has in memory. The other variants leave out one precaution each, and show what it is for.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Literal

Variant = Literal["as specified", "written by URL", "a marker for a txn", "a store without conditions"]
VARIANTS: tuple[Variant, ...] = ("as specified", "written by URL", "a marker for a txn", "a store without conditions")

Range = tuple[int, int]
"""Rows of the log: from, up to but without."""


@dataclass(frozen=True, slots=True)
class Table:
    """The log of a Delta table: a commit is the range that it added, and its txn is the number of that plan."""

    commits: tuple[tuple[int, Range], ...] = ()

    @property
    def txn(self) -> int:
        """The last plan that the table has."""
        return max((number for number, _ in self.commits), default=0)

    def rows(self) -> list[int]:
        """All rows in order, doubled ones twice."""
        return sorted(row for _, (begin, end) in self.commits for row in range(begin, end))


@dataclass(frozen=True, slots=True)
class Builder:
    """What a builder has in memory: its handles (version and txn of each table), and the plan that it is at."""

    handles: tuple[tuple[int, int], ...] = ()
    number: int = 0
    content: Range | None = None
    is_created: bool = False
    is_written: bool = False
    committed: int = 0
    """Tables that it is done with."""


@dataclass(frozen=True, slots=True)
class State:
    """The bucket, and both memories."""

    logged: int
    plans: tuple[Range, ...]
    tables: tuple[Table, ...]
    marked: int
    """The marker that stands in for a txn in one variant."""
    builders: tuple[Builder, ...]


@dataclass(frozen=True)
class Exploration:
    """What was found in all states that can be reached."""

    variant: Variant
    states: int
    doubled: tuple[str, ...] | None
    """The fewest steps after which a row is doubled, None if it never is."""
    missing: tuple[str, ...] | None
    """The fewest steps after which a table lacks a row that it is believed to have."""
    stuck: int
    """States without a fault from which the tables can no longer become complete."""

    @property
    def is_exactly_once(self) -> bool:
        """Whether each row is in each table once, whatever happens."""
        return self.doubled is None and self.missing is None and self.stuck == 0


def explore(variant: Variant, *, rows: int = 3, builders: int = 2, tables: int = 2) -> Exploration:
    """Visit every state, the nearest first."""
    start = State(1, (), (Table(),) * tables, 0, (Builder(),) * builders)
    before: dict[State, tuple[State, str] | None] = {start: None}
    backwards: dict[State, list[State]] = {}
    waiting, wrong = deque([start]), set[State]()
    doubled: State | None = None
    missing: State | None = None
    while waiting:
        state = waiting.popleft()
        has_doubled = any(len(set(table.rows())) < len(table.rows()) for table in state.tables)
        has_missing = any(_lacks(state, table) for table in state.tables)
        doubled = doubled or (state if has_doubled else None)
        missing = missing or (state if has_missing else None)
        if has_doubled or has_missing:
            wrong.add(state)
            continue  # from here on it only gets worse, without end
        for step, following in _steps(state, variant, rows):
            backwards.setdefault(following, []).append(state)
            if following not in before:
                before[following] = state, step
                waiting.append(following)
    stuck = before.keys() - wrong - _able(before, backwards, rows)
    return Exploration(variant, len(before), _path(before, doubled), _path(before, missing), len(stuck))


def _lacks(state: State, table: Table) -> bool:
    """Whether rows are missing below the end of the plan that the table has."""
    if not table.txn:
        return False
    return not set(range(state.plans[table.txn - 1][1])) <= set(table.rows())


def _path(before: dict[State, tuple[State, str] | None], state: State | None) -> tuple[str, ...] | None:
    if state is None:
        return None
    steps: list[str] = []
    while (link := before[state]) is not None:
        state, step = link
        steps.append(step)
    return tuple(reversed(steps))


def _able(before: dict[State, tuple[State, str] | None], backwards: dict[State, list[State]], rows: int) -> set[State]:
    """States from which all rows can still come into all tables, each once."""
    able = {state for state in before if all(table.rows() == list(range(rows)) for table in state.tables)}
    waiting = deque(able)
    while waiting:
        for state in backwards.get(waiting.popleft(), ()):
            if state not in able:
                able.add(state)
                waiting.append(state)
    return able


def _steps(state: State, variant: Variant, rows: int) -> Iterator[tuple[str, State]]:
    if state.logged < rows:
        yield "a line is logged", replace(state, logged=state.logged + 1)
    for number, builder in enumerate(state.builders):
        name = "AB"[number]
        if builder != Builder():
            yield f"{name} crashes", _with(state, number, Builder())
        for step, bucket, own in _actions(state, builder, variant):
            yield f"{name} {step}", _with(bucket, number, own)


def _with(state: State, number: int, builder: Builder) -> State:
    return replace(state, builders=(*state.builders[:number], builder, *state.builders[number + 1 :]))


def _actions(state: State, builder: Builder, variant: Variant) -> Iterator[tuple[str, State, Builder]]:
    """Yield what a builder may do next: its name, the bucket after it, and the builder's memory."""
    opened = len(builder.handles)
    if opened < len(state.tables):
        table = state.tables[opened]
        handles = (*builder.handles, (len(table.commits), table.txn))
        yield f"opens table {opened + 1}", state, replace(builder, handles=handles)
    elif builder.content is None:
        yield from _planning(state, builder, variant)
    elif not builder.is_created:
        yield _creating(state, builder, variant)
    elif not builder.is_written:
        # Names and bytes of the files follow from the plan: to write them twice is to write them once.
        yield f"writes the files of plan {builder.number}", state, replace(builder, is_written=True)
    elif builder.committed < len(state.tables):
        yield _committing(state, builder, variant)
    else:
        yield "is done", replace(state, marked=max(state.marked, builder.number)), Builder()


def _planning(state: State, builder: Builder, variant: Variant) -> Iterator[tuple[str, State, Builder]]:
    done = state.marked if variant == "a marker for a txn" else min(txn for _, txn in builder.handles)
    if done < len(state.plans):
        again = replace(builder, number=done + 1, content=state.plans[done], is_created=True)
        yield f"takes plan {done + 1} up again", state, again
    elif (end := state.plans[-1][1] if state.plans else 0) < state.logged:
        number = len(state.plans) + 1
        yield f"drafts plan {number}", state, replace(builder, number=number, content=(end, state.logged))


def _creating(state: State, builder: Builder, variant: Variant) -> tuple[str, State, Builder]:
    number, content = builder.number, builder.content
    assert content is not None
    if len(state.plans) < number:
        plans = (*state.plans, content)
        return f"creates plan {number}", replace(state, plans=plans), replace(builder, is_created=True)
    if variant == "a store without conditions":
        plans = (*state.plans[: number - 1], content, *state.plans[number:])
        return f"overwrites plan {number}", replace(state, plans=plans), replace(builder, is_created=True)
    there = state.plans[number - 1]
    return f"finds that plan {number} is there", state, replace(builder, content=there, is_created=True)


def _committing(state: State, builder: Builder, variant: Variant) -> tuple[str, State, Builder]:
    number, which, content = builder.number, builder.committed, builder.content
    assert content is not None
    version, txn = builder.handles[which]
    table, onwards = state.tables[which], replace(builder, committed=builder.committed + 1)
    if txn >= number and variant != "a marker for a txn":
        return f"sees plan {number} in table {which + 1}", state, onwards
    commits = table.commits
    if variant == "a store without conditions":
        commits = (*commits[:version], (number, content), *commits[version + 1 :])
    elif variant == "as specified" and len(commits) > version:
        return f"is refused by table {which + 1}: it has changed since", state, Builder()
    else:
        commits = (*commits, (number, content))
    tables = (*state.tables[:which], Table(commits), *state.tables[which + 1 :])
    return f"commits plan {number} to table {which + 1}", replace(state, tables=tables), onwards
