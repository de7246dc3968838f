"""H18: lines of very many numbers, and what commands make of them."""

from __future__ import annotations

import shutil

import pytest

import mlv


@pytest.mark.parametrize("name", ["summary", "compare", "sql"])
def test_many_keys_in_a_line(tmp_path, command, name):
    """H18: a line of very many numbers costs what it holds: of a long table the first rows are shown."""
    if name == "sql":
        pytest.importorskip("duckdb")
    with mlv.Exp(tmp_path, "exp", capture=(), system=False) as exp:
        exp.log({"loss": 1})
    shutil.copytree(exp.path, tmp_path / "other")
    numbers = ",".join(f'"k{number}":{number}' for number in range(50_000))
    head = '{"run":"rzzzzzzzzz","seq":1,"time":"2026-11-21T03:03:00.123456Z","type":"metrics","step":3,"data":{'
    with open(exp.path / "log.jsonl", "a") as file:
        file.write(f"{head}{numbers}}}}}\n")
    arguments = {
        "summary": [str(exp.path)],
        "compare": [str(exp.path), str(tmp_path / "other")],
        "sql": [str(exp.path), "select count(*) as found from metrics"],
    }[name]

    done = command(name, *arguments)

    assert done.returncode in (0, 1), done.stderr
    assert "Traceback" not in done.stderr
    if name == "sql":
        assert "50001" in done.stdout
    else:
        assert "rows are not shown; --json gives all" in done.stderr
        assert len(done.stdout.splitlines()) < 3000


def test_many_params(tmp_path, command):
    """H18: of very many params the first ones are shown."""
    exp = mlv.Exp(tmp_path, "exp", {f"p{number}": number for number in range(5000)}, capture=(), system=False)
    exp.close()
    done = command("show", exp.path)
    assert done.returncode == 0, done.stderr
    assert "3000 more; --json gives all" in done.stdout
