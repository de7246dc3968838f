"""Tables are in their line, or in a file that every tool for data frames reads."""

from __future__ import annotations

import csv
import math
import sys
from argparse import Namespace
from collections import namedtuple
from datetime import datetime, timezone

import pytest

from media.places import Folder
from mlv.encoding import Conversion
from mlv.media import table
from mlv.media.jobs import Unusable

Point = namedtuple("Point", "x y")
MANY = 20_000
NAN = math.nan


def inline(value, **options):
    """The data of a small table: its columns and its rows."""
    prepared = table.prepare(value, **options)
    assert (prepared.type, prepared.do) == ("table", None)
    return prepared.options["columns"], Conversion().value(prepared.options["rows"])


@pytest.fixture
def without_pyarrow(monkeypatch):
    """A process in which pyarrow cannot be imported."""
    monkeypatch.setitem(sys.modules, "pyarrow", None)


class TestSmall:
    @pytest.mark.parametrize(
        ("value", "options", "columns", "rows"),
        [
            ([{"a": 1, "b": 2}, {"b": 3, "c": 4}], {}, ["a", "b", "c"], [[1, 2, None], [None, 3, 4]]),
            ([{"a": 1, "b": 2}], {"columns": ["b"]}, ["b"], [[2]]),
            ([Point(1, 2), Namespace(x=3, y=4)], {}, ["x", "y"], [[1, 2], [3, 4]]),
            ([(1, "é"), [2, None]], {"columns": ["n", "text"]}, ["n", "text"], [[1, "é"], [2, None]]),
            ([[1, 2]], {}, ["0", "1"], [[1, 2]]),
            (({"a": number} for number in range(2)), {}, ["a"], [[0], [1]]),
            ({"a": [1, 2], 3: (4, 5)}, {}, ["a", "3"], [[1, 4], [2, 5]]),
            ({"a": [1], "b": [2]}, {"columns": ["b", "a"]}, ["b", "a"], [[2, 1]]),
            ([], {}, [], []),
            ([], {"columns": ["a"]}, ["a"], []),
            ({}, {}, [], []),
            ({"a": []}, {}, ["a"], []),
        ],
    )
    def test_each_form(self, value, options, columns, rows):
        """Rows and columns in the forms that scripts have them in."""
        assert inline(value, **options) == (columns, rows)

    def test_values_of_all_kinds(self):
        """A cell is any value of an event; NaN and None stay apart."""
        moment = datetime(2026, 1, 2, tzinfo=timezone.utc)
        prepared = table.prepare({"a": [NAN, None, True, b"b", moment, [1]]})
        conversion = Conversion()

        data = conversion.value(prepared.options)

        assert data["rows"][2:] == [
            [True], [{"_mlv": "bytes", "base64": "Yg=="}], ["2026-01-02T00:00:00.000000Z"], [[1]],
        ]  # fmt: skip
        assert conversion.nonfinite == {"/rows/0/0": "nan"}

    @pytest.mark.parametrize(
        ("value", "options", "reason"),
        [
            ({"a": [1, 2], "b": [3]}, {}, "the columns differ in length: {'a': 2, 'b': 1}"),
            ({"a": 1}, {}, "column 'a' is 1, not a list"),
            ({"a": "text"}, {}, "column 'a' is 'text', not a list"),
            ([[1, 2], [3]], {}, r"row 1 has 1 cells, not 2 as there are columns: \[3\]"),
            ([[1]], {"columns": ["a", "b"]}, "row 0 has 1 cells, not 2"),
            ([{"a": 1}, [1]], {}, r"row 1 is \[1\], not a mapping"),
            ([1, 2], {}, "row 0 is 1"),
            (["ab", "cd"], {}, "row 0 is 'ab'"),
            ([{"a": 1}], {"columns": ["b"]}, r"no column 'b'; it has \['a'\]"),
            ([{1: 2, "1": 3}], {}, "two columns '1'"),
            ([[1, 2]], {"columns": "ab"}, "columns='ab': give a list"),
            ("text", {}, "a value of type str is no table"),
            (3, {}, "a value of type int is no table"),
        ],
    )
    def test_what_is_no_table(self, value, options, reason):
        """What is no table is refused, and the reason names the column or the row."""
        with pytest.raises(Unusable, match=reason):
            table.prepare(value, **options)


class TestFrames:
    def test_pandas(self):
        """What is missing in the way of pandas is None, a NaN among floats a NaN."""
        pandas = pytest.importorskip("pandas")
        frame = pandas.DataFrame(
            {
                "f": [0.5, NAN],
                "t": ["x", None],
                "n": pandas.array([1, None], dtype="Int64"),
                "c": pandas.Categorical(["p", None]),
                "d": pandas.to_datetime(["2026-01-02", None], utc=True),
            }
        )

        prepared = table.prepare(frame)
        conversion = Conversion()

        assert prepared.options["columns"] == ["f", "t", "n", "c", "d"]
        rows = conversion.value(prepared.options["rows"])
        assert rows == [[0.5, "x", 1, "p", "2026-01-02T00:00:00.000000Z"], [None] * 5]
        assert conversion.nonfinite == {"/1/0": "nan"}

    @pytest.mark.parametrize(
        ("index", "columns"),
        [(None, ["a"]), (["r", "s"], ["index", "a"]), ([3, 4], ["index", "a"]), ("named", ["named", "a"])],
        ids=str,
    )
    def test_index_of_pandas(self, index, columns):
        """An index is a column, unless it only counts the rows."""
        pandas = pytest.importorskip("pandas")
        index = pandas.RangeIndex(2, name="named") if index == "named" else index

        assert inline(pandas.DataFrame({"a": [1, 2]}, index=index))[0] == columns

    def test_pandas_that_cannot_be(self):
        """A name that stands twice is refused."""
        pandas = pytest.importorskip("pandas")
        with pytest.raises(Unusable, match="two columns 'a'"):
            table.prepare(pandas.DataFrame([[1, 2]], columns=["a", "a"]))
        with pytest.raises(Unusable, match="index of the data frame"):
            table.prepare(pandas.DataFrame({"a": [1]}, index=pandas.Index([3], name="a")))

    def test_polars(self, without_pyarrow):
        """A frame of polars, for which pyarrow is not needed."""
        polars = pytest.importorskip("polars")

        assert inline(polars.DataFrame({"a": [1, None], "b": [[1], []]})) == (["a", "b"], [[1, [1]], [None, []]])

    def test_arrow(self):
        """What is of Arrow, or exports its streams."""
        pyarrow = pytest.importorskip("pyarrow")

        assert inline(pyarrow.table({"a": [1, None]})) == (["a"], [[1], [None]])
        assert inline(pyarrow.record_batch({"a": [1, None]})) == (["a"], [[1], [None]])
        with pytest.raises(Unusable, match="a value of type Stream is no table"):
            table.prepare(Stream())

    def test_a_stream_without_pyarrow(self, without_pyarrow):
        """Where a stream could only be read with pyarrow, it is named."""
        with pytest.raises(Unusable, match="pip install pyarrow"):
            table.prepare(Stream())

    def test_arrays(self):
        """An array with two axes is rows without names, or with those given; one in a mapping is a column."""
        numpy = pytest.importorskip("numpy")

        assert inline(numpy.eye(2)) == (["0", "1"], [[1, 0], [0, 1]])
        assert inline(numpy.eye(2), columns=["a", "b"])[0] == ["a", "b"]
        assert inline({"a": numpy.arange(2), "b": numpy.zeros((2, 1))}) == (["a", "b"], [[0, [0]], [1, [0]]])
        with pytest.raises(Unusable, match=r"shape \(2,\) is no table"):
            table.prepare(numpy.zeros(2))
        with pytest.raises(Unusable, match="2 columns, not 1"):
            table.prepare(numpy.eye(2), columns=["a"])

    def test_tensors(self):
        """Tensors are tables and columns as arrays are."""
        torch = pytest.importorskip("torch")

        assert inline(torch.eye(2)) == (["0", "1"], [[1, 0], [0, 1]])
        assert inline({"a": torch.arange(2)}) == (["a"], [[0], [1]])


class Stream:
    """Says that it exports an Arrow stream, and does not."""

    def __arrow_c_stream__(self, requested_schema=None):
        raise ValueError("closed")


class TestLarge:
    def test_parquet(self, tmp_path):
        """A large table is Parquet, with its types; the event has its columns, its length and its beginning."""
        parquet = pytest.importorskip("pyarrow.parquet")
        moment = datetime(2026, 1, 2)
        columns = {"n": list(range(MANY)), "x": [NAN, None] * (MANY // 2), "t": ["é", None] * (MANY // 2), "d": [moment] * MANY}
        folder = Folder(tmp_path)

        data = folder.data(table.prepare(columns))

        path = folder.at(data["file"])
        found = parquet.read_table(path).to_pydict()
        assert repr(found) == repr(columns)
        assert path.suffix == ".parquet"
        when = Conversion().value(moment)
        assert data["beginning"][:2] == [[0, None, "é", when], [1, None, None, when]]
        assert len(data["beginning"]) == 5
        assert (data["columns"], data["count"]) == (["n", "x", "t", "d"], MANY)

    @pytest.mark.parametrize("library", ["pandas", "polars", "numpy"])
    def test_frames(self, tmp_path, library):
        """Frames of each library come back as they were; a NaN is not taken for a missing value."""
        numpy, parquet = pytest.importorskip("numpy"), pytest.importorskip("pyarrow.parquet")
        module = pytest.importorskip(library)
        numbers, texts = numpy.linspace(0, 1, MANY), ["é", ""] * (MANY // 2)
        numbers[1] = NAN
        value = {"x": numbers} if library == "numpy" else module.DataFrame({"x": numbers, "t": texts})
        folder = Folder(tmp_path)

        data = folder.data(table.prepare(value))

        found = parquet.read_table(folder.at(data["file"]))
        assert found.column("x").null_count == 0
        assert numpy.array_equal(found.column("x").to_numpy(), numbers, equal_nan=True)
        assert library == "numpy" or found.column("t").to_pylist() == texts

    def test_csv(self, tmp_path, without_pyarrow):
        """Without pyarrow it is CSV: NaN is `nan`, None is nothing, bools and lists are JSON."""
        row = [NAN, None, True, 'say "é",\r\nor not', [1, None], -math.inf, 2**70, "\ud800", b"b"]
        folder = Folder(tmp_path)

        data = folder.data(table.prepare([row] * MANY, columns=list("abcdefghi")))

        path = folder.at(data["file"])
        with open(path, newline="", encoding="utf-8") as file:
            found = list(csv.reader(file))
        assert path.suffix == ".csv"
        assert len(found) == MANY + 1
        assert found[0] == list("abcdefghi")
        assert found[-1] == [
            "nan", "", "true", 'say "é",\r\nor not', "[1,null]", "-inf", str(2**70), "\\ud800",
            '{"_mlv":"bytes","base64":"Yg=="}',
        ]  # fmt: skip
        assert (data["count"], len(data["beginning"])) == (MANY, 5)

    def test_columns_of_mixed_types(self, tmp_path):
        """What Arrow has no type for is CSV as well."""
        folder = Folder(tmp_path)

        data = folder.data(table.prepare({"_mlv": [1, "x"] * MANY}))

        assert folder.at(data["file"]).read_bytes().startswith(b"_mlv\r\n1\r\nx\r\n")

    def test_a_cell_without_a_form(self, without_pyarrow):
        """A cell of a large table that has no JSON form is named."""
        with pytest.raises(Unusable, match=r"a\[1\] is of type object, which has no JSON form"):
            table.prepare({"a": [1, object()] * MANY})

    def test_many_numbers_that_are_none(self):
        """What stands beside a line to say which numbers are NaN counts as well."""
        assert table.prepare({"a": [NAN] * 1000}).do is None
        assert table.prepare({"a": [0.5] * 3000}).do is None
        assert table.prepare({"a": [NAN] * 3000}).do == "table"


@pytest.mark.parametrize("library", ["pandas", "polars"])
def test_series(library):
    """W17: a column alone is a table with one column."""
    series = pytest.importorskip(library).Series

    prepared = table.prepare(series([1, 2]).rename("a"))

    assert prepared.options == {"columns": ["a"], "rows": [[1], [2]]}
