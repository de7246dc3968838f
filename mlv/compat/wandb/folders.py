"""Where the runs of wandb lie as experiments: `<folder>/<project>/<name or id>`, and which of them has an ID."""

from __future__ import annotations

import json
import os
import re
from contextlib import suppress
from pathlib import Path

from mlv.settings import DIR

OWN = ".wandb"
"""Hidden folder of an experiment with a folder for each ID that it is resumed by; `files` in that is `run.dir`."""
SWEEPS = ".wandb-sweeps"
"""Folder of a project with a folder for each sweep."""
_LETTERS = "abcdefghijklmnopqrstuvwxyz0123456789"


def generate_id(length: int = 8) -> str:
    """Return a new ID of small letters and digits."""
    return "".join(_LETTERS[byte % len(_LETTERS)] for byte in os.urandom(length))


def project_folder(root_dir: str | None, project: str) -> Path:
    """Return the folder of a project: below the folder given, or the one that `MLV_DIR` names."""
    return (DIR.get() if root_dir is None else Path(root_dir)) / (clean(project) or "uncategorized")


def default_project() -> str:
    """Return the name of the git repository that the current folder is in, or `uncategorized`."""
    import subprocess  # most scripts name their project

    with suppress(OSError, subprocess.SubprocessError):
        command = ["git", "rev-parse", "--show-toplevel"]
        done = subprocess.run(command, capture_output=True, text=True, timeout=5, check=True)
        return os.path.basename(done.stdout.strip()) or "uncategorized"
    return "uncategorized"


def clean(name: str) -> str:
    """Return a name that a folder can have; empty if nothing of it can stay."""
    text = re.sub(r"[/\\\x00-\x1f\x7f\ud800-\udfff]+", "-", name).strip("-. ")
    return text.encode()[:150].decode("utf-8", "ignore")


def id_folder(path: Path, run_id: str) -> Path:
    """Return the folder of an ID in an experiment: no two IDs have the same one."""
    name = clean(run_id)
    if name != run_id or not name:
        from hashlib import sha256  # most IDs are names of folders

        name += f"-{sha256(run_id.encode('utf-8', 'surrogatepass')).hexdigest()[:16]}"
    return path / OWN / name


def with_id(folder: Path, run_id: str) -> Path | None:
    """Return the latest experiment of a project that has an ID, None if there is none."""
    try:
        entries = [Path(entry.path) for entry in os.scandir(folder) if id_folder(Path(entry.path), run_id).is_dir()]
    except OSError:
        return None
    return max((path for path in entries if (path / "meta.json").is_file()), key=_made, default=None)


def remember_id(path: Path, run_id: str) -> None:
    """Have an experiment be resumed by an ID."""
    with suppress(OSError):
        id_folder(path, run_id).mkdir(parents=True, exist_ok=True)


def _made(path: Path) -> int:
    return (path / "meta.json").stat().st_mtime_ns


def last_id(folder: Path) -> str | None:
    """Return the ID of the run that was begun last with `resume="auto"`."""
    with suppress(OSError, ValueError, KeyError, TypeError):
        return str(json.loads((folder / f"{OWN}-resume.json").read_text())["run_id"])
    return None


def remember_last_id(folder: Path, run_id: str) -> None:
    """Have a later run with `resume="auto"` go on with this one, if it does not end well."""
    with suppress(OSError):
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"{OWN}-resume.json").write_text(json.dumps({"run_id": run_id}))
