"""What every command prints, whatever terminal, pipe, locale and time zone it prints to: numbers and IDs in one piece."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import textwrap
from datetime import datetime
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from conftest import everything_from
from rich.text import Text

import mlv
from mlv.cli.blocks import NAMES, Listing, Page, Rows, least_width, wrapped

pty = pytest.importorskip("pty", reason="this system has no terminals of its own")

COMMANDS = [
    ["ls", "R"], ["ls", "R", "--newest", "1"], ["ls", "R", "--columns", "name,id,metrics.tokens.last,created"],
    ["ls", "R", "--columns", "params.*"], ["ls", "R", "--json"], ["show", "A"], ["show", "A/k/b"], ["show", "A", "--json"],
    ["tail", "A", "-n", "30"], ["tail", "A", "-n", "3", "--json"], ["summary", "A"], ["summary", "A", "--json"],
    ["compare", "A", "A/k/b"], ["compare", "R"], ["verify", "A"], ["whence", "A/files/a_rather_long_name.txt"],
    ["recover", "R"], ["merge", "R", "M", "--dry-run"], ["redact", "A", "-p", "0.123456", "--dry-run"], ["doctor", "R"],
    ["sql", "R", "select id, run, step, value, time from metrics m join experiments e on e.id = m.exp"],
    ["sql", "R", "select exp_name, value from metrics", "--csv"], ["sql", "R", "select id from experiments", "--json"],
    ["plot", "R", "-m", "tokens"], ["plot", "R", "-m", "tokens", "--x", "time"], ["dump", "A", "--to", "jsonl", "--out", "O"],
]  # fmt: skip
ENVIRONMENTS = {
    "40": (True, {"COLUMNS": "40", "TZ": "Asia/Kathmandu"}),
    "60": (True, {"COLUMNS": "60", "NO_COLOR": "1", "TZ": "Europe/Berlin"}),
    "20": (True, {"COLUMNS": "20", "FORCE_COLOR": "1", "TZ": "America/St_Johns"}),
    "dumb": (True, {"TERM": "dumb", "COLUMNS": "", "LANG": "C", "LC_ALL": "C"}),
    "ascii": (True, {"COLUMNS": "50", "PYTHONIOENCODING": "ascii"}),
    "pipe": (False, {"COLUMNS": "40", "TZ": "Asia/Kathmandu"}),
    "ascii pipe": (False, {"PYTHONIOENCODING": "ascii", "LANG": "C", "LC_ALL": "C"}),
    "coloured pipe": (False, {"FORCE_COLOR": "1", "COLUMNS": "40"}),
}
STEP, TOKENS = 1234567, 123456789


@pytest.fixture
def exp(tmp_path, monkeypatch):
    """An experiment with long names and numbers, and one below it."""
    monkeypatch.setenv("MLV_INLINE", "1")
    with mlv.Exp(tmp_path / "R", "A", {"lr": 0.123456, "a_rather/long_name": "rün"}, capture=(), notes="日本語") as exp:
        exp.log({"a/metric/of/a/long/name": 0.6887, "tokens": float(TOKENS)}, step=STEP)
        exp.log({"tokens": float(TOKENS)}, step=STEP + 1)
        with exp.file("a_rather_long_name.txt", "w") as file:
            file.write("text")
        exp.log.warning("rün %d", TOKENS)
    with mlv.init_sub_exp(exp.path / "files" / "a_rather_long_name.txt", "k", "b") as sub:
        sub.log({"tokens": float(TOKENS + 1)}, step=STEP)
    return exp


def printed(tmp_path: Path, variables: dict[str, str], is_terminal: bool) -> dict[str, str]:
    """What each command prints, one after the other in one process."""
    for package in ("duckdb", "pandas", "matplotlib", "plotext"):
        pytest.importorskip(package)
    places = {"R": str(tmp_path / "R"), "A": str(tmp_path / "R" / "A"), "M": str(tmp_path / "M"), "O": str(tmp_path / "O")}

    def resolved(word: str) -> str:
        first, slash, rest = word.partition("/")
        return places.get(first, first) + slash + rest

    commands = [[command[0], *map(resolved, command[1:])] for command in COMMANDS]
    script = textwrap.dedent(f"""
        import sys
        from mlv.cli.app import app
        for command in {commands!r}:
            print("@@", flush=True)
            try:
                app(command, standalone_mode=False)
            except SystemExit:
                pass
            sys.stdout.flush()
            sys.stderr.flush()
    """)
    ours, theirs = pty.openpty() if is_terminal else os.pipe()
    env = {**os.environ, "XDG_CACHE_HOME": str(tmp_path / "cache"), **variables}
    env = {name: value for name, value in env.items() if value}
    process = subprocess.Popen([sys.executable, "-c", script], stdout=theirs, stderr=theirs, cwd=tmp_path, env=env)
    os.close(theirs)
    read = everything_from(ours)
    assert process.wait(timeout=120) == 0
    sections = read.decode().replace("\r", "").split("@@\n")[1:]
    return {" ".join(command): section for command, section in zip(COMMANDS, sections, strict=True)}


@pytest.mark.parametrize(("is_terminal", "variables"), ENVIRONMENTS.values(), ids=ENVIRONMENTS)
def test_every_command(exp, tmp_path, is_terminal, variables):
    """R7, R8, R16: numbers, IDs and runs are whole on one line, times are the viewer's and name the zone, in every command.

    NO_COLOR and a dumb terminal get no colours, of plots either.
    """
    output = printed(tmp_path, variables, is_terminal)

    plain = {name: re.sub(r"\x1b\[[0-9;]*m", "", text) for name, text in output.items()}
    for name, text in plain.items():
        assert text.strip(), name
        assert "Traceback" not in text, name
        assert "\x1b" not in text, name
        assert "…" not in text, name
        # The lines of a log are printed in a pipe as they stand there.
        if "ascii" in variables.get("PYTHONIOENCODING", "") and (is_terminal or name != "tail A -n 3 --json"):
            assert text.isascii(), name
        if "COLUMNS" in variables and is_terminal and variables["COLUMNS"] == "40" and "--json" not in name:
            # Only what is one word, or is made for programs or for stderr, is wider.
            wide = [line for line in text.splitlines() if len(line) > 40 and not line.startswith("mlv: ")]
            assert all(" " not in line.strip() or re.search(r"\S{20}", line) for line in wide), (name, wide)
    run = exp.runs[-1].id
    wholes = {
        "ls R": [exp.short_id, str(TOKENS), "0.6887"], "ls R --newest 1": [str(TOKENS + 1)],
        f"ls R --columns {COMMANDS[2][3]}": [exp.id, str(TOKENS)], "ls R --columns params.*": ["0.123456"],
        "show A": [exp.id, exp.params_id, run, str(TOKENS), str(STEP + 1), "0.6887", "0.123456"], "show A/k/b": [exp.short_id],
        "tail A -n 30": [str(STEP), str(TOKENS), run], "summary A": [str(TOKENS), "0.6887"],
        "compare A A/k/b": [str(TOKENS), str(TOKENS + 1), "0.123456"], "compare R": [str(TOKENS), str(TOKENS + 1)],
        "verify A": [exp.short_id],
        " ".join(COMMANDS[15]): [exp.short_id, run], " ".join(COMMANDS[20]): [exp.id, run, str(STEP)],
        " ".join(COMMANDS[21]): [str(TOKENS)],
    }  # fmt: skip
    for name, numbers in wholes.items():
        for whole in numbers:
            assert re.search(rf"(?<![\w.]){re.escape(whole)}(?![\w])", plain[name]), (name, whole, plain[name])

    zone = ZoneInfo(variables["TZ"]) if "TZ" in variables else None
    made = datetime.fromisoformat(exp.meta["created"].replace("Z", "+00:00")).astimezone(zone)
    told = {name: " ".join(plain[name].split()) for name in ("show A", f"ls R --columns {COMMANDS[2][3]}")}
    for name, text in told.items():
        assert f"{made:%Y-%m-%d %H:%M:%S %Z}" in text, name
    assert f"{made:%Z}" in plain["tail A -n 30"]
    if not is_terminal:
        assert f"started ({made:%Z}" in plain["ls R"]
    coloured = "\x1b[" in output["show A"]
    assert coloured == (("FORCE_COLOR" in variables or is_terminal) and variables.get("TERM") != "dumb")
    if "NO_COLOR" in variables or variables.get("TERM") == "dumb":
        styles = re.findall(r"\x1b\[[0-9;]*m", "".join(output.values()))
        assert not [style for style in styles if re.search(r"[\[;][349][0-7]\b", style)]


@pytest.mark.parametrize("width", range(1, 60))
def test_blocks(width):
    """R16: at any width the words of every cell come in their order, none is broken, and what fits is not wider."""
    cells = [[Text("one two"), Text("123456789"), Text("")], [Text("a\nb"), Text("lr=1e-05"), Text("日本語 the last column")]]
    headings = [Text("first"), Text("a number"), Text("text")]
    blocks = [
        Rows(cells), Rows(cells, right={1}), Listing(headings, cells), Listing(headings, cells, titles=1),
        Page([(Text("heading"), [Rows(cells), Text("and a text")]), (Text("other"), [Text("x" * 30)])]),
    ]  # fmt: skip
    for block in blocks:
        lines = block.lines(width)
        words = " ".join(line.plain for line in lines).split()
        for text in ("one two", "123456789", "a", "b", "lr=1e-05", "日本語 the last column"):
            assert all(word in words for word in text.split())
        widest = max(least_width(line) for line in lines)
        assert all(line.cell_len <= max(width, widest + 12) for line in lines)
        if width > 50:
            assert all(line.cell_len <= width for line in lines)


@pytest.mark.parametrize(
    "name", ["lr1e-05-seed=-0.5", "a/metric/of/a/long/name=0.1235", "2026-11-30_run-7", "rün-日本語-x", "=-1", ""]
)
@pytest.mark.parametrize("width", [1, 5, 10, 14])
def test_names_are_broken_between_their_signs(name, width):
    """R16: where a name has no room it goes on behind one of its signs, and no number in it is broken."""
    lines = [line.plain for line in wrapped(Text(name), width, NAMES)]

    assert "".join(lines) == name
    for number in re.findall(r"-?\d+(?:\.\d+)?(?:e-?\d+)?", name):
        assert any(number in line for line in lines)
