"""`mlv.compat.wandb`: tables that lead to each other, joins, and both in artifacts, as the real wandb has them."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timezone
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
from wandb_folder import outcomes, own_folder

import mlv
import mlv.compat.wandb as wandb

pytestmark = pytest.mark.usefixtures("inline")

SCRIPT = """
a = wandb.Table(columns=["id", "x"], data=[["a", 1], ["b", 2], ["c", 3]])
b = wandb.Table(columns=["key", "y"], data=[["a", 10], ["c", 30]])
see("pk", lambda: [a.set_pk("id"), a.data])
see("pk again", lambda: a.set_pk("x"))
see("pk of numbers", lambda: wandb.Table(columns=["id"], data=[[1]]).set_pk("id"))
see("pk missing", lambda: b.set_pk("nothing"))
see("fk", lambda: [b.set_fk("key", a, "id"), b.data])
see("fk of numbers", lambda: b.set_fk("y", a, "id"))
see("fk missing", lambda: b.set_fk("key", a, "none"))
see("fk of the pk", lambda: a.set_fk("id", b, "key"))
see("index", lambda: [a.get_index(), a.get_index()[1].get_row()])
see("index_ref", lambda: [a.index_ref(2), a.index_ref(2).get_row()])
see("index_ref beyond", lambda: a.index_ref(7))
c = wandb.Table(columns=["z"], data=[[1.5], [2.5], [3.5]])
see("column of rows", lambda: [c.add_column("row", a.get_index()), c.data, c.data[1][1].get_row()])
see("row behind it", lambda: [c.add_data(9.5, 1), c.data[-1], c.data[-1][1].get_row()])
d = wandb.Table(columns=["i", "v"])
see("iterrows", lambda: [[d.add_data(i, row[1] * 2) for i, row in a.iterrows()], d.data, d.data[0][0].get_row()])
see("computed", lambda: [a.add_computed_columns(lambda i, row: {"twice": row["x"] * 2, "i": int(i)}), a.columns, a.data])
see("computed none", lambda: a.add_computed_columns(lambda i, row: 3))
see("computed some", lambda: a.add_computed_columns(lambda i, row: {"odd": 1} if i else {}))
see("column", lambda: [a.get_column("x"), a.get_column("x", convert_to="numpy").tolist()])
see("column missing", lambda: a.get_column("nope"))
see("column of lists", lambda: a.get_column("x", convert_to="list"))
see("column twice", lambda: a.add_column("x", [1, 2, 3]))
see("column too short", lambda: a.add_column("n", [1, 2]))
same = lambda *cells: wandb.Table(columns=["a"], data=[[cell] for cell in cells])
see("equal", lambda: [same(1) == same(1), same(1) != same(2), same(1) == 3])
see("join", lambda: [wandb.JoinedTable(a, b, "id") is not None, wandb.JoinedTable(a, b, ["id", "key"]) is not None])
see("join by a number", lambda: wandb.JoinedTable(a, b, 3))
see("join by three", lambda: wandb.JoinedTable(a, b, ["a", "b", "c"]))
see("join of a number", lambda: wandb.JoinedTable(a, 3, "id"))
see("join of texts", lambda: wandb.JoinedTable("a", "b", "id"))
see("joins", lambda: [wandb.JoinedTable(same(1), same(1), "a") == wandb.JoinedTable(same(1), same(1), "a"),
                      wandb.JoinedTable(same(1), same(1), "a") == wandb.JoinedTable(same(1), same(2), "a")])

art = wandb.Artifact("j", "t")
names = lambda: sorted(art.names if sys.argv[1] == "ours" else art.manifest.entries)
paths = {}

def add(obj, name, **options):
    entry = art.add(obj, name, **options)
    paths[entry.path] = entry.local_path
    return entry.path

content = lambda path: json.load(open(paths[path]))
see("add", lambda: [add(wandb.Table(columns=["q", "w"], data=[[1, "x"], [None, "y"]]), "plain"), names()])
fields = ("_type", "columns", "data", "ncols", "nrows", "log_mode")
see("table file", lambda: {field: content("plain.table.json")[field] for field in fields})
see("add again", lambda: [add(same(1), "plain"), content("plain.table.json")["columns"]])
see("add over", lambda: [add(same(1), "plain", overwrite=True), content("plain.table.json")["columns"]])
see("add with its ending", lambda: add(same(1), "s.table.json"))
see("join of paths", lambda: sorted(content(add(wandb.JoinedTable("plain.table.json", "s.table.json", "a"), "jp")).items()))
see("join of a missing path", lambda: add(wandb.JoinedTable("plain.table.json", "none.table.json", "a"), "jm"))
see("join of tables", lambda: [len({content(add(wandb.JoinedTable(same(5), same(6), "a"), "jt"))[key]
                                    for key in ("table1", "table2")} & {*names()})])
see("foreign keys", lambda: [add(b, "fk"), len([name for name in names() if name.startswith("media/tables/")])])
see("page", lambda: [add(wandb.Html("<p>"), "page"), [name.split("/")[:2] for name in names() if "/html/" in name]])
see("image", lambda: [add(wandb.Image(np.zeros((4, 4, 3), np.uint8)), "img"),
                      [name.split("/")[:2] for name in names() if "/images/" in name]])
see("histogram", lambda: add(wandb.Histogram([1, 2]), "h"))
see("number", lambda: add(3, "h"))
import datetime
cells = [[datetime.datetime(2020, 1, 1), wandb.Histogram(np_histogram=([1], [0, 1]))]]
see("cells", lambda: content(add(wandb.Table(columns=["d", "h"], data=cells), "cells"))["data"])
run = wandb.init(project="p")
see("log a join", lambda: run.log({"joined": wandb.JoinedTable(same(1), same(2), "a")}))
see("log a table", lambda: run.log({"fk": b}))
run.finish()
"""


@pytest.fixture(autouse=True)
def _own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    with own_folder(tmp_path, monkeypatch):
        yield


@pytest.mark.skipif(find_spec("wandb") is None, reason="wandb is not installed")
def test_the_same_as_wandb(tmp_path):
    """Each call of a script about tables gives what it gives under the real wandb."""
    theirs, ours = (outcomes(tmp_path / which, which, SCRIPT) for which in ("theirs", "ours"))

    assert {label: (theirs[label], ours[label]) for label in theirs if theirs[label] != ours[label]} == {}
    assert len(theirs) >= 45


def logged(artifact: Any) -> Any:
    """Log an artifact, and return it as another run reads it."""
    with wandb.init(project="p") as run:
        run.log_artifact(artifact)
    with wandb.init(project="p") as run:
        return run.use_artifact(artifact.name)


def people() -> Any:
    table = wandb.Table(columns=["id", "age"], data=[["ann", 3], ["bob", 4]])
    table.set_pk("id")
    return table


def test_keys_in_artifacts():
    """A table is got back with its keys, and the tables that they lead to; each of these once."""
    first, visits = people(), wandb.Table(columns=["who", "row", "place"], data=[["bob", 1, "here"]])
    visits.set_fk("who", first, "id")
    visits.add_column("next", first.get_index()[1:])
    artifact = wandb.Artifact("visits", "tables")
    artifact.add(first, "people")
    artifact.add(visits, "visits")
    artifact.add(wandb.JoinedTable(first, visits, ["id", "who"]), "joined")
    stored = logged(artifact)

    table = stored.get("visits")
    assert (table == visits, stored.get("people") == first, stored.get("nothing")) == (True, True, None)
    assert table.data[0][3].get_row() == {"id": "bob", "age": 4}
    assert table.links["who"].table is table.links["next"].table
    assert table.links["who"].table.primary_key == "id"
    joined = stored.get("joined.joined-table.json")
    assert joined == wandb.JoinedTable(first, visits, ["id", "who"])
    assert [entry.path for entry in stored.files()] == [
        "joined.joined-table.json", "people.table.json", "visits.table.json"
    ]  # fmt: skip


def test_an_equal_artifact_is_no_new_version():
    """Names within an artifact follow from its content."""
    versions = []
    for _ in range(2):
        artifact = wandb.Artifact("joined", "tables")
        artifact.add(wandb.JoinedTable(people(), people(), "id"), "joined")
        versions.append(logged(artifact).version)

    assert versions == ["v0", "v0"]


def test_tables_that_lead_to_each_other():
    """A circle of tables is stored and read."""
    first, second = people(), people()
    first.add_column("of", second.get_index())
    second.add_column("of", first.get_index())
    artifact = wandb.Artifact("circle", "tables")
    artifact.add(first, "first")
    table = logged(artifact).get("first")

    other = table.links["of"].table
    assert (other.links["of"].table is table, other.data[1][2].get_row()["id"]) == (True, "bob")


def test_rows_that_lead_to_another_table():
    """The cells of a column are made to lead to another table once, not with each row that is added."""

    class Counted(wandb.Table):
        calls = 0

        def _linked(self, column: Any, value: Any) -> Any:
            Counted.calls += 1
            return super()._linked(column, value)

    other = wandb.Table(columns=["a"], data=[[number] for number in range(100)])
    table = Counted(columns=["row"], data=[[5]])
    for index in other.get_index():
        table.add_data(index)

    assert [row[0].get_row() for row in table.data] == [{"a": number} for number in (5, *range(100))]
    assert Counted.calls < 300


def test_joins_across_artifacts():
    """A join may name a table of another artifact: its entry there."""
    artifact = wandb.Artifact("people", "tables")
    artifact.add(people(), "people")
    entry = logged(artifact).get_entry("people.table.json")
    joins = wandb.Artifact("joins", "tables")
    joins.add(wandb.JoinedTable(entry, people(), "id"), "joined")
    joined = logged(joins).get("joined")

    assert joined.tables == (people(), people())


def test_partitioned_tables():
    """The tables of a folder are read one behind the other."""
    artifact = wandb.Artifact("parts", "tables")
    for number in range(2):
        artifact.add(wandb.Table(columns=["a"], data=[[number], [number + 10]]), f"parts/{number}")
    artifact.add(wandb.PartitionedTable("parts"), "whole")

    assert list(logged(artifact).get("whole").iterrows()) == [(0, [0]), (1, [10]), (2, [1]), (3, [11])]


def test_cells_of_tables_in_artifacts():
    """Moments, arrays and media come back as what they were."""
    numpy = pytest.importorskip("numpy", reason="numpy is not installed")
    pytest.importorskip("PIL", reason="Pillow is not installed")
    pixels = numpy.arange(48, dtype=numpy.uint8).reshape(4, 4, 3)
    boxes = {"found": {"box_data": [{"position": {"minX": 0, "maxX": 1, "minY": 0, "maxY": 0.5}, "class_id": 1}]}}
    image = wandb.Image(pixels, caption="c", boxes=boxes, masks={"m": {"mask_data": pixels[:, :, 0]}})
    sound = wandb.Audio(numpy.array([0.0, 0.5, -1.0]), sample_rate=8000, caption="s")
    table = wandb.Table(columns=["when", "array", "image", "page", "sound", "points"])
    moment = datetime(2020, 1, 2, 3, 4, 5, tzinfo=timezone.utc)
    table.add_data(moment, pixels, image, wandb.Html("<p>hi</p>"), sound, wandb.Object3D(numpy.zeros((2, 3))))
    artifact = wandb.Artifact("cells", "tables")
    artifact.add(table, "cells")
    when, array, image_again, page, sound_again, points = logged(artifact).get("cells").data[0]

    assert (when, array.tolist()) == (moment, pixels.tolist())
    assert (numpy.asarray(image_again.image).tolist(), image_again.caption) == (pixels.tolist(), "c")
    assert (image_again.boxes, image_again.masks["m"]["mask"].tolist()) == (image.boxes, pixels[:, :, 0].tolist())
    assert (page.html, sound_again.caption, points.file()[0]) == ("<p>hi</p>", "s", b"[[0.0, 0.0, 0.0], [0.0, 0.0, 0.0]]")
    assert sound_again.file()[0][-6:] == numpy.array([0, 16384, -32767], "<i2").tobytes()
    with wandb.init(project="p") as run:
        run.log({"cells": wandb.Table(columns=["image", "sound"], data=[[image_again, sound_again]])})
    assert not [*mlv.Exp.open(run.exp.path).events("rejected")]


def test_logged_joins():
    """In the log a join is an event that names its tables; what a column leads to is an event `wandb/table`."""
    first, second = people(), wandb.Table(columns=["who"], data=[["ann"]])
    second.set_fk("who", first, "id")
    with wandb.init(project="p") as run:
        run.log({"second": second})
        run.log({"joined": wandb.JoinedTable(first, second, ["id", "who"])})

    exp = mlv.Exp.open(run.exp.path)
    assert [event.name for event in exp.events("table")] == ["second", "second/who", "joined/table1", "joined/table2"]
    [event] = exp.events("event", name="joined")
    assert (event.data["table1"], event.data["join_key"]) == ("joined/table1", ["id", "who"])
    links = [event.data["links"] for event in exp.events("event", name="wandb/table")]
    assert links == [{"who": {"table": "second/who", "column": "id"}}, {"who": {"table": "joined/table1", "column": "id"}}]
