"""A meta.json whose fields are of no type that mlv writes: each command goes on, or says what is wrong."""

from __future__ import annotations

from pathlib import Path

import orjson
import pytest
from typer.testing import CliRunner

import mlv
from mlv.cli.app import app

FIELDS = [
    "created",
    "name",
    "kind",
    "tags",
    "notes",
    "parent",
    "script",
    "git",
    "env",
    "machine",
    "nonfinite",
    "params_id",
    "redact",
]
VALUES = [5, {"a": [None]}]


def commands(path: Path, out: Path) -> list[list[str]]:
    root, x = str(path.parent), str(path)
    optional = [
        [module, ["export", x, "--to", to, "--out", str(out / to)]]
        for module, to in (("tensorboardX", "tensorboard"), ("h5py", "hdf5"), ("pyarrow", "parquet"))
    ]
    found = [argv for module, argv in optional if _is_there(module)]
    found += [["dump", root, "--to", "csv", "--out", str(out / "csv")], ["merge", x, str(out / "copy")]]
    found += [["ls", root], ["ls", root, "--sort", "created"], ["ls", root, "--columns", "name,kind,tags,notes,created"]]
    found += [[name, x] for name in ("show", "summary", "verify", "tail", "whence")]
    found += [["compare", x, x], ["recover", root], ["show", x, "--json"], ["ls", root, "--json"]]
    found += [["redact", x, "--pattern", "none here"]]
    if _is_there("duckdb"):
        found.append(["sql", root, "select created, name, kind, tags, notes from experiments"])
    return found


def _is_there(module: str) -> bool:
    try:
        __import__(module)
    except ImportError:
        return False
    return True


@pytest.mark.parametrize("field", FIELDS)
def test_types(tmp_path, monkeypatch, field):
    """H20: no field of a meta.json ends a command with a traceback, whatever it holds."""
    monkeypatch.setenv("MLV_INLINE", "1")
    exp = mlv.Exp(tmp_path / "runs", "x", {"lr": 1}, capture=(), system=False)
    exp.log({"loss": 0.5}, step=1)
    exp.close()
    meta = exp.path / "meta.json"
    content = orjson.loads(meta.read_bytes())
    meta.chmod(0o600)
    wrong = []
    for number, value in enumerate(VALUES):
        meta.write_bytes(orjson.dumps({**content, field: value}))
        for argv in commands(exp.path, tmp_path / str(number)):
            result = CliRunner().invoke(app, argv)
            if result.exception is not None and not isinstance(result.exception, (SystemExit, mlv.MlvError)):
                wrong.append(f"{field}={value!r}: {' '.join(argv)}: {result.exception!r}")
        for read in (
            lambda: mlv.find(exp.path.parent).frame(),
            lambda: list(mlv.Exp.open(exp.path).events()),
            lambda: exp.summary(),
        ):
            try:
                read()
            except mlv.MlvError:
                pass
            except Exception as error:
                wrong.append(f"{field}={value!r}: {error!r}")
    assert wrong == []
