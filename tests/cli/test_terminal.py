"""Nothing in a folder that somebody else made is obeyed by the terminal of who looks at it."""

from __future__ import annotations

import json
import os
import re
import select
import subprocess
import sys
import textwrap
from hashlib import sha256
from pathlib import Path

import pytest
from logs import line

pty = pytest.importorskip("pty", reason="this system has no terminals of its own")

EVIL = "\x1b]0;owned\x07\x1b[2J\x1b[8m\x9b31m\u202eevil\u2066\u200f"
"""Sets the title, clears the screen, conceals, colours, and turns the direction of what follows."""
WORD = EVIL.replace("/", "")
_OWN = re.compile(r"\x1b\[(?!8m)[0-9;]*m|\x1b\[\?25[hl]|\x1b\[[0-9]*[AK]|[\r\n\t]")
"""Colours, and what a progress bar needs."""

COMMANDS = [
    ["ls", "R"], ["ls", "R", "--json"], ["ls", "R", "--sort", "name"], ["ls", "R", "--columns", "name,params.E"],
    ["ls", "R", "--where", "nope = 1"], ["ls", f"R/{WORD}"], ["show", "A"], ["show", "A", "--json"], ["show", "B"],
    ["tail", "A", "-n", "100"], ["tail", "A", "-n", "100", "--json"], ["tail", "A", "--type", "seal"], ["tail", "A",
    "--type", EVIL],
    ["tail", "A", "--stream", WORD], ["tail", "A", "--stream", f"{WORD}x"], ["summary", "A"], ["summary", "A", "--json"],
    ["verify", "A"], ["verify", "A", "--json"], ["verify", "B"], ["whence", "A/files/a.txt", "R"],
    ["whence", "A/files/a.txt", "R", "--json"], ["whence", f"A/{WORD}"], ["recover", "R"], ["merge", "R", "M"], ["merge",
    "R", "M"],
    ["merge", "A", "B"], ["redact", "A", "-p", "conf.*", "--dry-run"], ["redact", "A", "-p", "evil", "--dry-run"],
    ["compare", "A", "M/A2"], ["compare", "A", "A"],
    ["sql", "R", "select * from experiments"], ["sql", "R", "select * from metrics", "--csv"], ["sql", "R",
    "select * from events", "--json"],
    ["sql", "R", "select * from files"], ["sql", "R", f'select "{WORD}" from runs'], ["sql", "R",
    "explain select name from experiments"],
    ["plot", "A", "-m", f"{WORD}/{EVIL}"], ["plot", "A", "-m", f"nope{EVIL}"], ["plot", "A", "-m", "loss", "--by", EVIL],
    ["dump", "A", "--to", "jsonl", "--out", f"O{WORD}"], ["export", "A", "--to", f"x{EVIL}"], ["export", f"R/nope{WORD}",
    "--to", "csv"],
    ["doctor", f"R/{WORD}"],
]  # fmt: skip


def hostile(root: Path) -> Path:
    """An experiment whose every name and text is hostile, as a log and a meta.json may say it."""
    folder = root / f"A{WORD}"
    (folder / "files").mkdir(parents=True)
    (folder / "files" / "a.txt").write_text("conf")
    sha = sha256(b"conf").hexdigest()
    reference = {"_mlv": "file", "path": "files/a.txt", "size": 4, "sha256": sha, "media_type": EVIL}
    meta = {
        "format": 1, "name": EVIL, "kind": EVIL, "created": "2026-01-01T00:00:00.000000Z",
        "params": {"E": EVIL, EVIL: {EVIL: 1}},
        "parent": {"id": EVIL, "path": f"../{EVIL}", "checkpoint": {**reference, "path": f"../{EVIL}", "sha256": sha}},
        "tags": [EVIL], "notes": EVIL, "script": {"path": EVIL, "argv": [EVIL], "cwd": EVIL, "error": EVIL},
        "git": {"commit": EVIL, "branch": EVIL, "message": EVIL, "remotes": {EVIL: EVIL}, "diff": reference, "error": EVIL},
        "env": {"python": EVIL, "packages": {EVIL: EVIL}, "variables": {EVIL: EVIL}}, "machine": {"host": EVIL,
        "user": EVIL, "os": EVIL},
    }  # fmt: skip
    (folder / "meta.json").write_text(json.dumps(meta, ensure_ascii=False))
    rows = [
        ("run_started", {"exp": EVIL, "parent_run": EVIL, "process": {"pid": EVIL, "machine": EVIL}, "params": {EVIL: EVIL}}),
        ("metadata", {"unit": EVIL, "format": EVIL, "description": EVIL}), ("metrics", {EVIL: 1.5, "text": EVIL}), (EVIL,
        {EVIL: EVIL}),
        ("event", {EVIL: [EVIL]}), ("message", {"level": EVIL, "message": EVIL, "extra": {EVIL: EVIL}, "exception": {
            "type": EVIL, "message": EVIL, "traceback": EVIL}}), ("tags", {"tags": [EVIL]}), ("note", {"text": EVIL}),
            ("params", {EVIL: EVIL}),
        ("file", {**reference, "path": f"files/{EVIL}"}), ("image", {"file": {**reference, "path": EVIL}, EVIL: EVIL}),
        ("checkpoint", {"action": EVIL, "folder": EVIL, "save": 1, "places": [EVIL, f"models/top_k/{WORD}"]}),
        ("checkpoint", {"action": "saved", "folder": "models", "save": 1, "file": reference,
        "places": [f"models/top_k/e{WORD}"]}),
        ("rejected", {"type": EVIL, "reason": EVIL}), ("dropped", {"first": 1, "last": 2, "count": 2, "reason": EVIL,
        "of": EVIL}),
        ("rewound", {"step": 1, "last": {EVIL: 1}}), ("redacted", {"who": EVIL, "reason": EVIL, "lines": [{"run": EVIL,
        "seq": 1}]}),
        ("run_paused", {"reason": EVIL}), ("run_ended", {"status": EVIL, "exception": {"type": EVIL, "message": EVIL}}),
        ("seal", {"of": EVIL, "stream": EVIL, "lines": 3, "sha256": sha, "previous": sha}),
    ]  # fmt: skip
    for stream in ("log", WORD):
        with open(folder / ("log.jsonl" if stream == "log" else f"{stream}.log.jsonl"), "wb") as log:
            for seq, (type_, data) in enumerate(rows, 1):
                fields = {"name": WORD, "step": EVIL, "at": {EVIL: EVIL}}
                made = json.loads(line(f"r{EVIL}", seq, type_, second=seq, data=data, **fields))
                log.write(json.dumps(made, ensure_ascii=False).encode() + b"\n")
            log.write(f'{{"broken {EVIL}\n'.encode())
    return folder


@pytest.fixture
def script(tmp_path: Path) -> Path:
    """A script that runs every command in turn, in one process."""
    root = tmp_path / "R"
    folder = hostile(root)
    unreadable = root / f"B{WORD}"
    unreadable.mkdir()
    (unreadable / "meta.json").write_text(f"[{EVIL}")
    (unreadable / "log.jsonl").write_bytes(b"x\n")
    paths = {"A": str(folder), "B": str(unreadable), "R": str(root), "M": str(tmp_path / "M")}

    def resolved(word: str) -> str:
        first, slash, rest = word.partition("/")
        return paths.get(first, first if not first.startswith("O\x1b") else str(tmp_path / first)) + slash + rest

    commands = [[command[0], *map(resolved, command[1:])] for command in COMMANDS]
    path = tmp_path / "all.py"
    path.write_text(
        textwrap.dedent(f"""
        import sys, traceback
        from mlv.cli.app import app
        for command in {commands!r}:
            print("@@", command[0], flush=True)
            try:
                app(command, standalone_mode=False)
            except SystemExit:
                pass
            except Exception as error:
                print(type(error).__name__, flush=True)
            sys.stderr.flush()
        """)
    )
    return path


def on_a_terminal(script: Path) -> str:
    """What a script writes to a terminal."""
    ours, theirs = pty.openpty()
    settings = {**os.environ, "TERM": "xterm-256color", "COLUMNS": "200", "XDG_CACHE_HOME": str(script.parent / "cache")}
    process = subprocess.Popen(
        [sys.executable, str(script)], stdin=theirs, stdout=theirs, stderr=theirs, cwd=script.parent, env=settings
    )
    os.close(theirs)
    content = b""
    terminal = select.poll()
    terminal.register(ours, select.POLLIN)
    while terminal.poll(120_000):
        try:
            piece = os.read(ours, 1 << 16)
        except OSError:  # the other end is closed
            break
        if not piece:
            break
        content += piece
    process.wait(60)
    os.close(ours)
    return content.decode("utf-8", "replace")


def test_every_command(script):
    """B9: on a terminal no command, error or warning lets through what a name or text of a hostile experiment holds."""
    written = on_a_terminal(script)

    sections = re.split(r"@@ (\w+)\r?\n", written)[1:]
    assert len(sections) == 2 * len(COMMANDS)
    for command, (name, text) in zip(COMMANDS, zip(sections[::2], sections[1::2], strict=True), strict=True):
        left = {character for character in _OWN.sub("", text) if not character.isprintable()}
        assert (name, left) == (command[0], set()), (command, text)
    assert "evil" in written


def test_json_stays_json(tmp_path, command):
    """B9: what is escaped on a terminal is still the same JSON; elsewhere it is printed as it stands in the log."""
    folder = hostile(tmp_path / "R")
    script = tmp_path / "one.py"
    script.write_text(
        f"from mlv.cli.app import app\napp(['tail', {str(folder)!r}, '--json', '-n', '3'], standalone_mode=False)\n"
    )

    lines = [one for one in on_a_terminal(script).splitlines() if one.startswith("{")]
    plain = command("tail", folder, "--json", "-n", "3").stdout.splitlines()

    assert [json.loads(one) for one in lines] == [json.loads(one) for one in plain]


def test_errors_and_warnings_of_the_library(tmp_path):
    """B9: what Python prints of an error or a warning of mlv holds nothing that a terminal obeys."""
    import mlv
    from mlv.errors import MlvWarning
    from mlv.notices import warn

    with pytest.raises(mlv.NotAnExperiment) as caught:
        mlv.Exp.open(tmp_path / WORD)
    with pytest.warns(MlvWarning) as shown:
        warn(f"about {EVIL}", MlvWarning)

    for text in (str(caught.value), str(shown[0].message)):
        assert "evil" in text
        assert text.isprintable()
