"""What it costs to begin and to end: the import, `Exp(...)` with every capture, and `close()`."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from statistics import median

from benchmarks.figures import Figure, plain
from benchmarks.measuring import folder, in_turn, timed_ms

_SCRIPT = """
import json, sys, time
import mlv

began = time.perf_counter()
exp = mlv.Exp(sys.argv[1], "digits", {"lr": 0.001, "layers": [64, 32], "optimizer": {"name": "adam"}})
made = time.perf_counter()
time.sleep(1)
idle = time.perf_counter()
exp.close()
print(json.dumps([made - began, time.perf_counter() - idle]))
"""


def imports(quick: bool) -> list[Figure]:
    """`import mlv` in a fresh interpreter, beside an interpreter that does nothing."""

    def interpreter(program: str) -> float:
        return timed_ms(lambda: subprocess.run([sys.executable, "-c", program], check=True))

    interpreter("import mlv")  # compiles what was not yet
    bare, mlv = in_turn(lambda: interpreter("pass"), lambda: interpreter("import mlv"), 5 if quick else 40)
    more = median(mlv) - median(bare)
    return [Figure("import mlv, over a bare interpreter", "ms", median(bare), median(mlv), more, "ms", 60)]


def experiments(quick: bool) -> list[Figure]:
    """The first `Exp(...)` of a script in a git repository with changes, and its `close()` after an idle second."""
    made, closed = [], []
    with folder() as place:
        script = _repository(place / "project") / "train.py"
        for turn in range(1 + (3 if quick else 15)):
            command = [sys.executable, str(script), str(place / "runs")]
            done = subprocess.run(command, check=True, capture_output=True, text=True, timeout=60)
            if turn:  # the first one compiles what was not yet
                spent = json.loads(done.stdout)
                made.append(1000 * spent[0])
                closed.append(1000 * spent[1])
        _check_captures(place / "runs" / "digits")
    return [
        plain("Exp(...) with every capture, in a dirty git repository", "ms", median(made), 250),
        plain("close() after an idle second", "ms", median(closed), 100),
    ]


def _repository(root: Path) -> Path:
    """A project of 400 files under git: 20 of them changed since the commit, 10 not tracked."""
    for number in range(400):
        path = root / f"package_{number % 20}" / f"module_{number}.py"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("".join(f"def function_{i}(x):\n    return x + {i * number}\n\n\n" for i in range(40)))
    (root / "train.py").write_text(_SCRIPT)
    identity = ["-c", "user.name=bench", "-c", "user.email=bench@localhost", "-c", "commit.gpgsign=false"]
    for command in (["init", "-q"], ["add", "."], [*identity, "commit", "-q", "-m", "Begin"]):
        subprocess.run(["git", *command], cwd=root, check=True)
    for number in range(20):
        path = root / f"package_{number}" / f"module_{number}.py"
        path.write_text(path.read_text().replace("x + ", "x - ", 10))
    for number in range(10):
        (root / f"notes_{number}.txt").write_text("not tracked\n")
    return root


def _check_captures(exp: Path) -> None:
    """Refuse a time in which nothing was captured."""
    meta = json.loads((exp / "meta.json").read_text())
    failed = {name: meta[name] for name in ("script", "git", "env", "machine") if not meta[name] or "error" in meta[name]}
    if failed:
        raise RuntimeError(f"captures failed: {failed}")
