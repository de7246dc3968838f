"""B8: integers of thousands of digits, which Python itself refuses to print, are stored exactly and shown in a few words."""

from __future__ import annotations

import csv
import json
import warnings
from decimal import Decimal
from fractions import Fraction
from pathlib import Path

import orjson
import pytest

import mlv
from mlv import words
from mlv.encoding import Conversion, digits, json_of_any, restored, shown

HUGE = 10**5000
SHOWN = "~1e5000 (16610 bits)"
NESTS = (HUGE, -HUGE, 2**80, [HUGE], {"a": {"b": -HUGE}}, 1 << 13_999, 1 << 14_000, -(1 << 100_000))
VALUES = (HUGE, -HUGE, 2**80, 10**400, Decimal(10) ** 5000, Fraction(HUGE, 3), 3)


@pytest.fixture(scope="module")
def exp(tmp_path_factory: pytest.TempPathFactory) -> mlv.Exp:
    """An experiment with such numbers wherever numbers may be."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MLV_INLINE", "1")
        exp = mlv.Exp(tmp_path_factory.mktemp("runs"), "a", {"lr": 0.1, "big": HUGE, "list": [-HUGE], HUGE: 1}, capture=())
        for step, value in enumerate(VALUES):
            exp.log({"x": value, "y": step}, step=step)
            exp.log("c", {"v": value, "l": [value], "d": {str(step): value}, value: 1})
            exp.log.at(epoch=value)({"z": 1.0}, step=step)
            exp.log.table(f"t{step}", [{"a": 1, "b": value}, {"a": value, "b": 2}])
            exp.log.info("a message", size=value)
            exp.log.value(f"v{step}", value)
            exp.add_params({f"p{step}": value})
        exp.log.describe("x", format=",.3f")
        exp.checkpoints(top=1, metric="x", mode="max").save({"w": [1]}, step=1, metrics={"x": HUGE})
        exp.close()
    return exp


def test_words():
    """A huge number is its first digits, its exponent and its size."""
    assert words.number(HUGE) == words.number(HUGE, ",.3f") == words.compact(HUGE) == SHOWN
    assert words.number(-HUGE) == f"-{SHOWN}"
    assert words.compact({"a": [HUGE]}) == f'{{"a": ["{SHOWN}"]}}'
    assert words.number(999_999 * 10**4994) == SHOWN
    assert words.number(2**80) == str(2**80)
    assert words.number(10**400, "d") == "~1e400 (1329 bits)"
    assert shown(HUGE) == SHOWN


@pytest.mark.parametrize(
    ("format", "expected"),
    [
        (".4f", "0.5000"), ("8.2f", "    0.50"), ("+.1e", "+5.0e-01"), (".0%", "50%"), ("", "0.5"), (",.2f", "0.50"),
        (">6g", "   0.5"), ("2000000000f", "0.5"), (".2000000000f", "0.5"), ("0>99999999", "0.5"), ("x", "0.5"), ("c", "0.5"),
        ("{}", "0.5"), (7, "0.5"), (["f"], "0.5"), ("f" * 99, "0.5"),
    ],
)  # fmt: skip
def test_formats(format, expected):
    """H15: a format that would take all memory, or is none, is passed over."""
    assert words.number(0.5, format) == expected


@pytest.mark.parametrize("value", NESTS, ids=range(len(NESTS)))
def test_values_come_back(value):
    """What was logged comes back exactly, and can be printed."""
    conversion = Conversion()
    found = restored(orjson.loads(orjson.dumps(conversion.value(value))), {})
    assert found == value
    assert repr(found)
    assert json_of_any(found) == json_of_any(value)


def test_readers(exp):
    """Nothing that reads, or prints what was read, stumbles; the values are exact."""
    pytest.importorskip("pandas")
    pytest.importorskip("duckdb")
    again = mlv.Exp.open(exp.path)
    assert [event.data["x"] for event in again.events(type="metrics") if "x" in event.data][:4] == list(VALUES[:4])
    assert again.params["big"] == HUGE
    assert again.summary()["x"].last == 3
    assert again.history()["x"].dropna().tolist()[:2] == [HUGE, -HUGE]
    frames = [again.history(), again.history(wide=False), *map(again.frame, ("metrics", "message", "event", "params", "table"))]
    tables = ("experiments", "runs", "events", "metrics", "files")
    rows = [again.sql(f"select * from {name}").rows() for name in tables]
    found = mlv.find(exp.path.parent)
    for one in (again, again.params, again.meta, again.summary(), again.best, found.frame(), found.history(), *frames, *rows):
        assert "e5000" in f"{one!r}" or one is not again.params
    for event in again.events():
        assert repr(event)


def test_commands(exp, tmp_path):
    """Every command shows the size, and `--json` keeps the digits."""
    pytest.importorskip("duckdb")
    typer = pytest.importorskip("typer.testing")
    from mlv.cli.app import app

    said = {}
    for command in (
        "tail -n 1000 EXP", "tail -n 1000 --json EXP", "ls ROOT", "ls --json ROOT", "show EXP", "show --json EXP",
        "summary EXP", "verify EXP", "compare EXP EXP", "export EXP --to csv", "export ROOT --to csv --out OUT/csv",
        "dump ROOT --to jsonl --out OUT/jsonl", "dump ROOT --to parquet --out OUT/parquet",
    ):  # fmt: skip
        places = {"EXP": str(exp.path), "ROOT": str(exp.path.parent)}
        arguments = [places.get(word, word.replace("OUT", str(tmp_path))) for word in command.split()]
        result = typer.CliRunner().invoke(app, arguments, catch_exceptions=False)
        assert result.exit_code == 0, result.output
        said[command] = result.output
    assert SHOWN in said["tail -n 1000 EXP"]
    lines = [json.loads(line) for line in said["tail -n 1000 --json EXP"].splitlines()]
    assert any(line["data"].get("x") == {"_mlv": "int", "value": hex(HUGE)} for line in lines if line["type"] == "metrics")


@pytest.mark.parametrize("output", ["csv", "parquet", "hdf5", "tensorboard"])
def test_outputs(exp, output):
    """Each output is built, and CSV has all digits."""
    for needed in {"parquet": ["pyarrow", "pandas"], "hdf5": ["h5py"], "tensorboard": ["tensorboardX"]}.get(output, []):
        pytest.importorskip(needed)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        folder = mlv.projections.replay(exp, output)
    if output == "csv":
        with open(Path(folder) / "log.csv", newline="") as file:
            rows = [row for row in csv.DictReader(file) if row["name"] == "x"]
        assert [int(row["value"], 0) for row in rows[:4]] == list(VALUES[:4])
        assert rows[0]["value"] == digits(HUGE)


def test_long_integers_beside_what_is_missing(tmp_path, monkeypatch):
    """R7: an integer keeps its digits in `frame`, also where another experiment has a fraction there, or nothing."""
    pytest.importorskip("pandas")
    monkeypatch.setenv("MLV_INLINE", "1")
    for name, params in {"a": {"job": 2**53 + 1, "n": 2**53 + 1}, "b": {"n": 0.5}}.items():
        with mlv.Exp(tmp_path, name, params, capture=()) as exp:
            exp.log(params)

    frame = mlv.find(tmp_path).frame(stats=["max"])

    for column in ("params.job", "params.n", "metrics.job", "metrics.n", "metrics.n.max"):
        assert frame[column][0] == 2**53 + 1, column
