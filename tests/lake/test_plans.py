"""Plans: which bytes become rows, and what is passed over."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from mlv.errors import LakeDamaged, LakeTooNew
from mlv.lake import plans
from mlv.lake.plans import LogPosition, Plan, PlanEntry, Positions, Range
from mlv.lake.survey import lines_by_run, without_repeats

SCHEMA = json.loads((Path(__file__).parents[2] / "schemas" / "plan.schema.json").read_text())
A, B = "a" * 64, "b" * 64
POSITION = LogPosition(((20, A),), B, {"r1": 2}, (1, 20, 3), True)
ENTRY = PlanEntry(A, "x/y", "2026-11", (Range("log", "", 0, 20, A, {"r1": 1}),), {("log", ""): POSITION}, True, True)


def plan(number=1, previous="", **fields):
    return Plan(number, previous, "2026-11-03T00:00:00.000000Z", "/runs", ((ENTRY,),), **fields)


def test_a_plan_reads_as_it_was_written():
    """The text of a plan holds all of it, and fits the schema."""
    written = plan(2, A, replaced={B: "none"})

    assert plans.plan_of(written.text, 2, A, "url") == written
    pytest.importorskip("jsonschema").validate(json.loads(written.text), SCHEMA)


@pytest.mark.parametrize(
    ("text", "error"),
    [
        (b"{", LakeDamaged),
        (plan().text.replace(b"/runs", b"/tmp"), None),
        (plan(2).text, LakeDamaged),
        (plan(1, A).text, LakeDamaged),
        (plan().text.replace(b'"format":1', b'"format":2'), LakeTooNew),
        (plan().text.replace(b'"parser":1', b'"parser":2'), LakeTooNew),
        (plan().text.replace(b'"tasks":[', b'"tasks":[1,'), LakeDamaged),
        (plan().text.replace(b'"x/y"', b'"../y"'), LakeDamaged),
        (plan().text.replace(b'"x/y"', b'"/x/y"'), LakeDamaged),
    ],
)
def test_other_plans_are_refused(text, error):
    """A plan that is damaged, out of order or newer is told from one that says what it said."""
    if error is None:
        assert plans.plan_of(text, 1, "", "url").sha256 != plan().sha256
        return
    with pytest.raises(error, match="url"):
        plans.plan_of(text, 1, "", "url")


def test_positions_survive_their_text():
    """The fold of plans is the same, read from a checkpoint."""
    positions = Positions()
    positions.add(plan())

    read = plans.positions_of(positions.to_bytes())

    assert vars(read) == vars(positions)
    with pytest.raises(LakeDamaged, match="leads out of its folder"):
        plans.positions_of(positions.to_bytes().replace(b'"x/y"', b'"x/../../y"'))


def test_a_replaced_experiment_is_taken_from_its_beginning():
    """What a plan replaces leaves nothing of itself in the positions."""
    positions = Positions()
    positions.add(plan())
    positions.add(replace(plan(2), tasks=(), replaced={A: "2026-11"}))

    assert (positions.experiments, positions.exp_at, positions.number) == ({}, {}, 2)


def test_tasks_are_limited():
    """A task has at most so many bytes and experiments; an entry that is larger stands alone."""
    entries = [replace(ENTRY, path=str(size), ranges=(Range("log", "", 0, size, A),)) for size in (5, 5, 30, 1, 1, 1, 1)]

    tasks = plans.tasks_of(entries, most_bytes=10, most_experiments=3)

    assert [[entry.path for entry in task] for task in tasks] == [["5", "5"], ["30"], ["1", "1", "1"], ["1"]]


@pytest.mark.parametrize("count", [41, 79, 150])
def test_tasks_are_even(count):
    """Two or four workers have equally much to do, and the entries keep their order."""
    entries = [replace(ENTRY, path=str(number), ranges=(Range("log", "", 0, 5, A),)) for number in range(count)]

    tasks = plans.tasks_of(entries, most_bytes=1000, most_experiments=20)

    assert [entry for task in tasks for entry in task] == entries
    assert len(tasks) % 4 == 0
    assert max(map(len, tasks)) - min(map(len, tasks)) <= 1


def test_lines_of_runs_are_counted():
    """The lines of each run, however many runs there are, and whoever wrote them."""
    lines = [b'{"run":"r%d","seq":%d,"x":"{\\"run\\":\\"r1\\""}\n' % (number % 7, number) for number in range(50)]
    lines.append(b'{"seq":1, "run":"other"}\n')
    lines.append(b"no json\n")

    assert lines_by_run(b"".join(lines)) == {"r0": 8, "other": 1, **{f"r{n}": 7 for n in range(1, 7)}}
    assert lines_by_run(b"".join(lines[:1])) == {"r0": 1}
    assert lines_by_run(lines[0] * 3 + lines[1]) == {"r0": 3, "r1": 1}
    assert lines_by_run(lines[-1] + lines[0]) == {"r0": 1}


def test_repeats_are_passed_over():
    """Of each run the first lines are left out, those of others stay in order."""
    lines = [b'{"run":"r%d","seq":%d,\n' % (number % 2, number) for number in range(6)]

    assert without_repeats(b"".join(lines), {"r0": 2, "r1": 0}) == lines[1] + lines[3] + lines[4] + lines[5]
    assert plans.repeated({"r1": 5, "r2": 1}, {"r1": 1}, {"r1": 3}) == {"r1": 2}
