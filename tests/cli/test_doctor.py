"""`mlv doctor` says what is in force, whether all that mlv relies on works here, and what to change."""

from __future__ import annotations

import errno
import json
import os
from pathlib import Path

import pytest

import mlv
from mlv.cli import examine
from mlv.cli.examine import CHANGE, NOTE, OK
from mlv.cli.installed import installed
from mlv.settings import PATIENCE, SETTINGS
from mlv.transport import new_rings, spool


@pytest.fixture(autouse=True)
def project(tmp_path, monkeypatch):
    """An empty folder as the current one; of the settings only the spool of the tests."""
    for setting in SETTINGS:
        if setting.env != "MLV_SPOOL":
            monkeypatch.delenv(setting.env, raising=False)
    (tmp_path / "pyproject.toml").write_text("")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def check(folder, name):
    """What is found about one thing."""
    [found] = [one for one in examine.examine(Path(folder)) if one.name == name]
    return found


def everything_below(folder):
    return sorted(str(path) for path in folder.rglob("*"))


def test_all_is_well(command, project):
    """Where all works the exit status is 0, and each setting is told with its source."""
    shown = command("doctor")

    assert shown.returncode == 0, shown.stdout
    assert shown.stdout.endswith("\nall is well\n")
    told = shown.stdout.splitlines()[1 : 1 + len(SETTINGS)]
    assert [line.split()[0] for line in told] == [setting.key for setting in SETTINGS]
    assert ["spool", os.environ["MLV_SPOOL"], "MLV_SPOOL"] in [line.split() for line in shown.stdout.splitlines()]
    assert f"folder  {project / 'runs'}" in shown.stdout
    assert "change" not in shown.stdout


def test_nothing_is_left(command, project):
    """Neither in the folder, nor in the spool, nor in one that had to be made to try it."""
    before = everything_below(project), everything_below(Path(os.environ["MLV_SPOOL"]))
    command("doctor", "deep/runs")
    assert command("doctor", env={**os.environ, "MLV_SPOOL": str(project / "not" / "yet")}).returncode == 0

    assert (everything_below(project), everything_below(Path(os.environ["MLV_SPOOL"]))) == before


def test_what_has_to_change(command, project):
    """Then the exit status is 1, and each change is told; what is good to know changes nothing."""
    (project / "pyproject.toml").write_text('[tool.mlv]\nfsync_intervall = 3\npatience = "long"\n')
    shown = command("doctor", env={**os.environ, "MLV_DISABLED": "1"})

    assert shown.returncode == 1
    assert "patience = 'long' in [tool.mlv]" in shown.stdout
    assert "did you mean 'fsync_interval'?" in shown.stdout
    assert "nothing is stored, because of MLV_DISABLED" in shown.stdout
    assert shown.stdout.endswith("\n2 things to change\n")


@pytest.mark.parametrize(
    ("name", "meant"), [("MLV_DISABLE", "MLV_DISABLED"), ("MLV_FSYNC_INTERVALL", "MLV_FSYNC_INTERVAL"), ("MLV_LAUNCH", None)]
)
def test_variables_that_are_mistyped(project, monkeypatch, name, meant):
    """A variable that is nearly a setting is none: that is told, with the one that it resembles."""
    monkeypatch.setenv(name, "1")
    assert [one.advice for one in examine.examine(project) if one.name == name] == ([f"did you mean {meant}?"] if meant else [])


@pytest.mark.parametrize("folder", ["pyproject.toml", "pyproject.toml/runs"])
def test_what_is_no_folder(command, folder):
    """A file cannot be looked at: the exit status is 2."""
    shown = command("doctor", folder)
    assert shown.returncode == 2
    assert "pyproject.toml' is a file: give a folder for experiments" in shown.stderr


def test_json(command, project):
    """The same for scripts."""
    found = json.loads(command("doctor", "--json", "somewhere", env={**os.environ, "MLV_PATIENCE_S": "5"}).stdout)

    assert found["folder"] == str(project / "somewhere")
    assert list(found["settings"]) == [setting.key for setting in SETTINGS]
    assert found["settings"]["patience"] == {
        "value": 5.0, "source": "MLV_PATIENCE_S", "problem": None, "meaning": PATIENCE.meaning,
    }  # fmt: skip
    assert {one["verdict"] for one in found["checks"]} <= {OK, NOTE}
    assert {"folder", "spool", "writer", "python"} == {one["part"] for one in found["checks"]}


def test_a_folder_that_is_not_there(project):
    """The nearest one that is there is looked at."""
    found = check(project / "a" / "b", "there")
    assert (found.verdict, found.text) == (NOTE, f"it is made when it is needed; looked at is {project}")


@pytest.mark.skipif(not Path("/proc").is_dir(), reason="needs a folder in which nobody may make anything")
def test_a_folder_where_nothing_can_be_made():
    """That has to change."""
    assert check("/proc", "writable").verdict == CHANGE


def refusing(code):
    def refuse(*_):
        raise OSError(code, os.strerror(code))

    return refuse


@pytest.mark.parametrize("code", [errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP])
def test_no_locks(project, monkeypatch, code):
    """Locks that do not work are good to know: nothing depends on them."""
    monkeypatch.setattr("fcntl.flock", refusing(code))
    found = check(project, "flock")
    assert (found.verdict, errno.errorcode[code] in found.text) == (NOTE, True)


def test_locks_that_keep_nobody_out(project, monkeypatch):
    """So are those that let everybody in."""
    monkeypatch.setattr("fcntl.flock", lambda *_: None)
    assert (check(project, "flock").verdict, check(project, "flock").text[:18]) == (NOTE, "lets everybody in:")


def test_no_links(project, monkeypatch):
    """A file system without links takes more space."""
    monkeypatch.setattr("os.link", refusing(errno.EPERM))
    assert (check(project, "links").verdict, "none (EPERM)" in check(project, "links").text) == (NOTE, True)


def test_links_that_replace(project, monkeypatch):
    """Where a link replaces what is there, nothing can be published safely."""
    monkeypatch.setattr("os.link", lambda *_: None)
    assert check(project, "links").verdict == CHANGE


@pytest.mark.parametrize("replace", [refusing(errno.EIO), lambda *_: None])
def test_renames_that_do_not_replace(project, monkeypatch, replace):
    """Nor where a rename does not replace."""
    monkeypatch.setattr("os.replace", replace)
    assert check(project, "rename").verdict == CHANGE


def test_slow_fsync(project, monkeypatch):
    """Where fsync takes long, a longer interval is named."""
    moments = iter(range(100))
    monkeypatch.setattr(examine.time, "perf_counter", lambda: next(moments) * 0.5)
    found = check(project, "fsync")
    assert (found.verdict, found.text) == (CHANGE, "500 ms, the median of 7")
    assert found.advice == "set MLV_FSYNC_INTERVAL=2 or more; it is 1 s"

    monkeypatch.setenv("MLV_FSYNC_INTERVAL", "2")
    assert check(project, "fsync").verdict == OK


@pytest.mark.parametrize(("ahead_s", "verdict"), [(0, OK), (3600, CHANGE), (-3600, CHANGE)])
def test_clocks(project, monkeypatch, ahead_s, verdict):
    """The clock that dates files and that of this machine should agree."""
    now = examine.time.time
    monkeypatch.setattr(examine.time, "time", lambda: now() + ahead_s)
    assert check(project, "clock").verdict == verdict


@pytest.mark.parametrize(("kind", "verdict"), [("ext4", OK), ("tmpfs", NOTE), ("nfs4", NOTE), ("fuse.sshfs", NOTE), ("", OK)])
def test_file_systems(project, monkeypatch, kind, verdict):
    """What lies in memory, or on other machines, is good to know."""
    monkeypatch.setattr(spool, "file_system_of", lambda path: kind)
    assert check(project, "file system").verdict == verdict


def test_little_space(project, monkeypatch):
    """A disk that is nearly full has to change."""
    monkeypatch.setattr(examine.shutil, "disk_usage", lambda path: type("Usage", (), {"free": 12_000_000})())
    assert (check(project, "space").verdict, check(project, "space").text) == (CHANGE, "12.0 MB free")


def test_the_spool(project):
    """The place that serves is that which a run would take."""
    found = check(project, "place")
    assert (found.verdict, found.text.startswith(f"{os.environ['MLV_SPOOL']}, ")) == (OK, True)


@pytest.mark.parametrize("what", ["a file", "open to others"])
def test_a_spool_that_cannot_be_one(project, monkeypatch, what):
    """Where the folder that was named cannot serve, the reason is told, and the one that does."""
    place = project / "named"
    if what == "a file":
        place.write_bytes(b"")
    else:
        spool.root_of(place).mkdir(parents=True)
        spool.root_of(place).chmod(0o777)
    monkeypatch.setenv("MLV_SPOOL", str(place))
    before = everything_below(project)
    found = check(project, "place")

    assert (found.verdict, found.advice.startswith(f"{place}: ")) == (CHANGE, True)
    assert everything_below(project) == before


def test_a_spool_on_other_machines(project, monkeypatch):
    """A spool that was chosen on a network mount has to change."""
    monkeypatch.setattr(spool, "file_system_of", lambda path: "nfs4")
    assert check(project, "place").verdict == CHANGE


def test_no_spool_at_all(project, monkeypatch):
    """Without any room, a folder has to be named."""
    monkeypatch.setattr(os, "posix_fallocate", refusing(errno.ENOSPC))
    found = check(project, "place")
    assert (found.verdict, found.advice) == (CHANGE, "name a local folder with MLV_SPOOL")
    assert "No space left on device" in found.text


def test_what_waits(project, python):
    """Events that a killed process left, and nobody attends to, are told with the command that writes them."""
    python("""
        import os, signal, mlv
        from mlv.transport import channels
        channels.launch = lambda *_, **__: None
        exp = mlv.Exp("runs", "exp", capture=())
        exp.log({"loss": 1})
        os.kill(os.getpid(), signal.SIGKILL)
    """)
    path = project / "runs" / "exp"
    found = check(project, "waiting")
    assert (found.verdict, found.advice) == (CHANGE, f"write them: mlv recover {path}")

    mlv.Exp.open(path)
    assert [one for one in examine.examine(project) if one.name == "waiting"] == []


@pytest.mark.parametrize(("setting", "reason"), [("MLV_INLINE", "none is wanted"), (None, "cannot be started")])
def test_no_writer(project, monkeypatch, setting, reason):
    """Without a writer logging is slower, which is good to know."""
    if setting:
        monkeypatch.setenv(setting, "1")
    else:
        monkeypatch.setattr(examine, "can_launch", lambda: False)
    assert (check(project, "process").verdict, check(project, "process").text.startswith(reason)) == (NOTE, True)


def requirements(monkeypatch, required, versions):
    def version(name):
        if name not in versions:
            raise examine_metadata.PackageNotFoundError(name)
        return versions[name]

    from importlib import metadata as examine_metadata

    monkeypatch.setattr("mlv.cli.installed.metadata.requires", lambda name: required)
    monkeypatch.setattr("mlv.cli.installed.metadata.version", version)
    return {one.name: one for one in installed()}


def test_packages(monkeypatch):
    """What is needed must be there, and new enough; an extra that is missing is told with the command that brings it."""
    required = [
        "orjson>=3.9", "typer>=0.12", "psutil>=5.9", 'tomli>=2.0; python_version < "3.10"', 'pandas>=2.0; extra == "frame"',
        'pyarrow>=18; extra == "frame"', 'duckdb>=1.1; extra == "sql"', 'pytest>=8; extra == "test"',
        'mlvlogger[frame]; extra == "plot"',
    ]  # fmt: skip
    found = requirements(monkeypatch, required, {"orjson": "3.13.0", "typer": "0.9.1", "pandas": "2.2.3", "duckdb": "1.10.0"})

    assert (found["packages"].verdict, found["packages"].text) == (
        CHANGE, "orjson 3.13.0, typer 0.9.1 is older than 0.12, psutil is missing",
    )  # fmt: skip
    assert found["packages"].advice == "pip install --upgrade 'typer>=0.12' 'psutil>=5.9'"
    assert found["extra frame"].text == "pandas 2.2.3, pyarrow is missing; for all of it: pip install 'mlvlogger[frame]'"
    assert (found["extra frame"].verdict, found["extra sql"].verdict) == (NOTE, OK)
    assert "extra test" not in found


def test_ring_and_doctor_ask_for_the_same():
    """The doctor reserves what a ring needs."""
    assert examine.CAPACITY is new_rings.CAPACITY


def test_ls_without_a_root(command, project):
    """`mlv` looks where the setting says, unless it is told; without either in the current folder."""
    for root in ("runs", "others"):
        with mlv.Exp(project / root, f"in_{root}", capture=()) as exp:
            exp.log({"loss": 1})
    elsewhere = {**os.environ, "MLV_DIR": str(project / "others")}

    assert [name in command("ls").stdout for name in ("in_runs", "in_others")] == [True, True]
    assert [name in command("ls", env=elsewhere).stdout for name in ("in_runs", "in_others")] == [False, True]
    assert [name in command("ls", "runs", env=elsewhere).stdout for name in ("in_runs", "in_others")] == [True, False]
    assert command("show", "in_others", env=elsewhere).returncode == 0
    assert command("show", "in_runs", env=elsewhere).returncode == 2
    assert command("show", "in_runs", "--root", ".", env=elsewhere).returncode == 0
    (project / "pyproject.toml").write_text('[tool.mlv]\ndir = "runs"\n')
    assert [name in command("ls").stdout for name in ("in_runs", "in_others")] == [True, False]
