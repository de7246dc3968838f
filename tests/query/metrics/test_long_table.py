"""The metrics of an experiment as columns: what was logged is what stands there, however it was parsed."""

from __future__ import annotations

import json
import re
from itertools import chain, islice
from pathlib import Path
from tempfile import TemporaryDirectory

import orjson
import pytest
from logs import line, write

pytest.importorskip("pyarrow")
pytest.importorskip("hypothesis")
from hypothesis import example, given, settings
from hypothesis import strategies as st

from mlv.encoding import Conversion
from mlv.query.metrics import cache_files, parse, schema
from mlv.query.metrics.long_table import metrics
from mlv.query.metrics.schema import from_json_text
from mlv.store.streams import Skipped, read_blocks, read_lines

texts = st.text(st.characters(codec="utf-8"), max_size=6)
keys = st.sampled_from(["loss", "acc", "a/b", "", "é", '"', "_mlv", "_mlv_x", "null"]) | texts
integers = st.integers(-(2**70), 2**70) | st.sampled_from([2**53, 2**53 + 1, -(2**63), 2**64, 10**400])
odd_values = st.none() | st.booleans() | texts | integers | st.lists(st.floats() | texts, max_size=2) | st.binary(max_size=3)
values = st.floats() | st.integers(-5, 5) | odd_values
steps = st.none() | st.integers(-(2**63), 2**63 - 1) | st.floats(allow_nan=False, allow_infinity=False) | texts
coordinates = st.dictionaries(texts, st.integers(-3, 3) | st.sampled_from([0.5, 2.0, "a", True, None]) | texts, max_size=2)
fields = st.fixed_dictionaries(
    {"name": st.sampled_from(["", "train", "a/b"]), "data": st.dictionaries(keys, values, max_size=4)}
)
regular = st.fixed_dictionaries(
    {
        "name": st.sampled_from(["", "train"]),
        "data": st.dictionaries(
            st.sampled_from("abc"), st.floats(allow_nan=False, allow_infinity=False) | st.integers(-9, 9), max_size=3
        ),
    }
)

NUMBERS = [
    "1.e5",
    "1.E5",
    ".5",
    "5.",
    "01",
    "-01",
    "-0",
    "-0.0",
    "+1",
    "1e5",
    "1E-07",
    "0x1F",
    "1e999",
    "nan",
    "-inf",
    "1 ",
    "",
]


def metric_line(seq: int, event: dict, step: object = None, at: dict | None = None) -> bytes:
    """A line as mlv writes it, or as others do: a metric without a name is in it as well."""
    conversion = Conversion()
    data = {**conversion.metrics(event["data"]), **conversion.unusable}
    parts = {"name": event["name"], "step": step, "at": conversion.value(at or {}), "data": data}
    kept = {name: value for name, value in parts.items() if value not in (None, "", {}) or name == "data"}
    record = {"run": "ra", "seq": seq, "time": f"2026-01-01T00:00:{seq % 60:02}.000001Z", "type": "metrics", **kept}
    return orjson.dumps({**record, **({"nonfinite": conversion.nonfinite} if conversion.nonfinite else {})}) + b"\n"


def rows(tables: list) -> list:
    """The rows of tables, with NaN as a text, in an order of their own."""
    found = [row for table in tables for row in table.to_pylist()]
    for row in found:
        pairs = zip(orjson.loads(row.pop("keys")), row.pop("values"), row.pop("texts") or [None] * 99, strict=False)
        row["data"] = sorted((key, repr(value), text) for key, value, text in pairs)
    return sorted(found, key=lambda row: (row["seq"], repr(row)))


def parse_slowly(block: bytes, start: int, stream: str, skipped: list[Skipped]) -> list:
    """One line after the other: what the parsers of blocks must equal."""
    return [
        schema.table_of([schema.row(event) for event in parse.metrics_events(parse.lines_of(block), start, stream, skipped)])
    ]


class TestBothWaysAreEqual:
    @settings(deadline=None, max_examples=200)
    @given(st.lists(st.tuples(fields, steps, coordinates), max_size=6))
    def test_hostile(self, events):
        """Parsed as a block or line by line: the same rows."""
        block = b"".join(metric_line(seq, *event) for seq, event in enumerate(events, 1))

        assert rows(parse.parse_block(block, 0, "log", [])) == rows(parse_slowly(block, 0, "log", []))

    @settings(deadline=None, max_examples=200)
    @given(st.lists(st.tuples(regular, st.none() | st.integers(-3, 10**9), coordinates), min_size=1, max_size=6))
    def test_regular(self, events):
        """The same where most lines are as scripts log them."""
        block = b"".join(metric_line(seq, *event) for seq, event in enumerate(events, 1))

        assert rows(parse.parse_block(block, 0, "log", [])) == rows(parse_slowly(block, 0, "log", []))

    @settings(deadline=None, max_examples=200)
    @given(st.lists(st.tuples(regular, st.none() | st.integers(-3, 10**9), coordinates), min_size=1, max_size=6))
    def test_regular_at_once(self, events):
        """The same where lines that are unlike each other are given to pyarrow in one piece."""
        block = b"".join(metric_line(seq, *event) for seq, event in enumerate(events, 1))
        with pytest.MonkeyPatch.context() as patched:
            patched.setattr(parse, "parse_alike", lambda block: ([], parse.lines_of(block)))

            assert rows(parse.parse_block(block, 0, "log", [], many=1)) == rows(parse_slowly(block, 0, "log", []))

    @settings(deadline=None, max_examples=300)
    @given(
        st.tuples(fields, steps, coordinates),
        st.lists(st.sampled_from(NUMBERS) | st.floats().map(repr) | st.integers().map(str), min_size=1, max_size=5),
        st.data(),
    )
    def test_alike(self, event, numbers, data):
        """Lines that differ in one number, which may be none of JSON."""
        line = metric_line(1, *event)
        found = list(re.finditer(rb"-?\d[\d.e+-]*", line))
        place = data.draw(st.sampled_from(found))
        lines = [line, *(line[: place.start()] + number.encode() + line[place.end() :] for number in numbers), line]
        fast, slow = [], []

        assert rows(parse.parse_block(b"".join(lines), 0, "log", fast)) == rows(parse_slowly(b"".join(lines), 0, "log", slow))
        assert [(hole.start, hole.end) for hole in fast] == [(hole.start, hole.end) for hole in slow]

    @settings(deadline=None, max_examples=300)
    @given(st.lists(st.tuples(regular, st.integers(0, 9), st.just({"epoch": 3})), min_size=2, max_size=4), st.data())
    def test_a_byte_that_went_wrong(self, events, data):
        """One byte of a block is another one: what the lines say does not depend on how they are read."""
        block = bytearray(b"".join(metric_line(seq, *event) for seq, event in enumerate(events, 1)))
        block[data.draw(st.integers(0, len(block) - 2))] = data.draw(st.sampled_from(b'0.e-,:"{}x \n\xff'))
        fast, slow = [], []

        assert rows(parse.parse_block(bytes(block), 0, "log", fast)) == rows(parse_slowly(bytes(block), 0, "log", slow))
        assert {(hole.start, hole.end) for hole in fast} <= {(hole.start, hole.end) for hole in slow}

    @settings(deadline=None, max_examples=100)
    @given(st.lists(st.lists(st.tuples(fields | regular, steps, coordinates), min_size=1, max_size=4), min_size=1, max_size=3))
    def test_from_a_sidecar(self, blocks):
        """Rows that were kept, whichever of their columns repeat one value, are the rows that were parsed."""
        lines = (metric_line(seq, *event) for seq, event in enumerate(chain.from_iterable(blocks), 1))
        tables = [table for events in blocks for table in parse.parse_block(b"".join(islice(lines, len(events))), 0, "log", [])]
        with TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patched:
            patched.setenv("XDG_CACHE_HOME", f"{folder}/home")
            place = Path(folder, ".mlv", "cache")
            writer = cache_files.PartWriter([place], "log", 0, cache_files.ParsedRange())
            writer.write(tables, cache_files.ParsedRange())
            writer.publish()
            writer.discard()
            [part] = cache_files.read_parts(place, "log")

            assert rows([table for table, _ in part.tables()]) == rows(tables)

    def test_the_fast_way_is_taken(self, monkeypatch):
        """Ordinary lines, of several names, keys and coordinates, are parsed as a block."""
        monkeypatch.setattr(parse, "row", lambda event: pytest.fail("read one by one"))
        events = [({"name": "", "data": {"loss": 0.5}}, 1, {"epoch": 3}), ({"name": "val", "data": {"acc": 1, "f1": 0.25}}, 2)]

        tables = parse.parse_block(b"".join(metric_line(seq, *event) for seq, event in enumerate(events, 1)), 0, "log", [])

        assert sum(table.num_rows for table in tables) == 2

    @pytest.mark.parametrize(
        "pair",
        [
            (b'{"run":"ra","seq":1,\n', b'"time":"2026-01-01T00:00:00Z","type":"metrics","data":{"a":1}}\n'),
            (metric_line(1, {"name": "", "data": {"a": 1}})[:-1], metric_line(2, {"name": "", "data": {"a": 2}})),
            (b'{"run":"r\xff","seq":1,"time":"2026-01-01T00:00:00Z","type":"metrics","data":{"a":1}}\n', b""),
            (b'{"run":"ra","seq":1,"time":"2026-01-01T00:00:00Z","type":"metrics","data":{"a":NaN}}\n', b""),
            (b'{"run":"ra","seq":1,"time":"2026-01-01T00:00:00Z","type":"metrics","data":{"a":1,"a":2}}\n', b""),
            (b'{"run":"ra","seq":1,"time":"2026-01-01T00:00:00+02:00","type": "metrics","data":{"a":1}}\n', b""),
            (b'{"run":"ra","seq":1,"time":"2026-01-01T00:00:00Z","type":"event","data":{"x":{"type":"metrics"}}}\n', b""),
            (b'{"run":"ra","seq":1,"time":"2026-01-01T00:00:00Z","type":"metrics","data":5}\n', b""),
        ],
    )
    def test_strange_lines(self, pair):
        """What others wrote, and what was damaged, gives the same rows and the same byte ranges."""
        block = metric_line(7, {"name": "", "data": {"a": 1}}) + b"".join(pair) + metric_line(9, {"name": "", "data": {"a": 3}})
        fast, slow = [], []

        assert rows(parse.parse_block(block, 100, "log", fast)) == rows(parse_slowly(block, 100, "log", slow))
        assert [(hole.start, hole.end) for hole in fast] == [(hole.start, hole.end) for hole in slow]


@settings(deadline=None, max_examples=100)
@given(st.lists(st.tuples(fields, steps, coordinates), max_size=6))
@example([({"name": "a", "data": {"x": 10**400}}, 2**63 - 1, {"b": 2.0, "a": 1})])
def test_what_was_logged_is_what_stands_there(tmp_path_factory, events):
    """Names, values, steps and coordinates come back, whatever they are."""
    folder = tmp_path_factory.mktemp("exp")
    write(folder, *(metric_line(seq, *event) for seq, event in enumerate(events, 1)))

    found = metrics(folder).to_pylist()

    expected = {}
    for seq, (event, step, at) in enumerate(events, 1):
        for key, value in event["data"].items():
            expected[seq, f"{event['name']}/{key}" if event["name"] else key] = (value, step, at)
    assert len(found) == len(expected)
    for row in found:
        value, step, at = expected[row["seq"], row["name"]]
        logged = row["value"] if row["text"] is None else from_json_text(row["text"])
        assert logged == value or repr(logged) == repr(value)
        assert row["step"] == (float(step) if isinstance(step, (int, float)) else None)
        assert (json.loads(row["at"]) if row["at"] else {}) == at


LINES = [metric_line(seq, {"name": "", "data": {"loss": seq}}, seq) for seq in (1, 2, 3, 4)]


class TestDamage:
    def test_cut_anywhere_in_the_last_two_lines(self, tmp_path):
        """Whole lines are read; the torn one is reported with its byte range."""
        whole = b"".join(LINES)
        ends = [len(b"".join(LINES[:count])) for count in range(5)]
        for cut in range(ends[2], len(whole) + 1):
            (tmp_path / "log.jsonl").write_bytes(whole[:cut])
            skipped: list[Skipped] = []

            table = metrics(tmp_path, skipped=skipped)

            start = max(end for end in ends if end <= cut + 1)  # a line that lacks only its newline is whole
            assert sorted(table["seq"].to_pylist()) == list(range(1, ends.index(start) + 1))
            assert [(hole.start, hole.end) for hole in skipped] == ([(start, cut)] if cut > start else [])

    @pytest.mark.parametrize("damage", [b"x", b"\x00", b"\n", b"}", b'"'])
    def test_a_corrupted_middle_line(self, tmp_path, damage):
        """The lines around it are read, and its bytes are reported."""
        lines = list(LINES)
        lines[1] = lines[1][:22] + damage + lines[1][23:]
        path = write(tmp_path, *lines)
        skipped: list[Skipped] = []

        table = metrics(tmp_path, skipped=skipped)

        assert sorted(table["seq"].to_pylist()) == [1, 3, 4]
        covered = b"".join(path.read_bytes()[hole.start : hole.end] for hole in skipped)
        assert covered == lines[1]

    @pytest.mark.parametrize("read", [read_lines, lambda path: read_blocks(path, 0, 1 << 16)])
    def test_a_line_that_is_being_written(self, tmp_path, read):
        """What is appended while a half line is looked at is not taken for a line of its own."""
        path = write(tmp_path, LINES[0], LINES[1][:20])
        found = []
        for _, piece in read(path):
            found.append(piece)
            if not piece.endswith(b"\n"):
                with open(path, "ab") as file:
                    file.write(LINES[1][20:] + LINES[2])

        assert b"".join(found) == LINES[0] + LINES[1][:20]

    def test_no_metrics(self, tmp_path):
        """A log without metrics gives no rows, and the same columns."""
        write(tmp_path, line("ra", 1, "note", data={"text": '"type":"metrics"'}))

        assert metrics(tmp_path).num_rows == 0
        assert metrics(tmp_path).column_names == ["stream", "run", "seq", "time", "step", "name", "value", "text", "at"]


def test_streams(tmp_path: Path) -> None:
    """A stream is found by its name, with the file that a second writer made of it."""
    for stream, seq in (("log", 1), ("val", 2), ("val@rb", 3)):
        write(tmp_path, metric_line(seq, {"name": "", "data": {"loss": 1}}), stream=stream)

    assert sorted(metrics(tmp_path, ["val"])["seq"].to_pylist()) == [2, 3]
    assert set(metrics(tmp_path)["stream"].to_pylist()) == {"log", "val"}
