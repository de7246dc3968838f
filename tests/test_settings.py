"""The settings: an argument wins over the environment, that over the project's file, that over the default."""

from __future__ import annotations

import os
import sys
import warnings
from pathlib import Path

import pytest

from mlv import settings
from mlv.errors import InvalidArgument, MlvWarning
from mlv.settings import DIR, DISABLED, EXP, FSYNC_INTERVAL, INLINE, NAME, PATIENCE, SETTINGS, SHIP, SHIP_EVERY, SPOOL, TAGS

CASES = [
    (DISABLED, "1", True, "on"),
    (DISABLED, "off", False, "off"),
    (INLINE, "Yes", True, "on"),
    (FSYNC_INTERVAL, "0.25", 0.25, "0.25 s"),
    (PATIENCE, "0", 0.0, "0 s"),
    (SPOOL, "/scratch", Path("/scratch"), "/scratch"),
    (DIR, "/data/runs", Path("/data/runs"), "/data/runs"),
    (NAME, "digits", "digits", "digits"),
    (TAGS, "paper, night,,", ("paper", "night"), "paper, night"),
    (EXP, "/data/runs/digits", Path("/data/runs/digits"), "/data/runs/digits"),
    (SHIP, "s3://lab/runs?endpoint=http://h:1", "s3://lab/runs?endpoint=http://h:1", "s3://lab/runs?endpoint=http://h:1"),
    (
        SHIP,
        "s3://key:secret@lab/runs?token=x&region=eu",
        "s3://***@lab/runs?token=***&region=eu",
        "s3://***@lab/runs?token=***&region=eu",
    ),
    (SHIP, "s3://key:sec/ret#1@lab/runs", "s3://***@lab/runs", "s3://***@lab/runs"),
    (SHIP_EVERY, "2", 2.0, "2 s"),
]
BAD = [
    (DISABLED, "maybe", '"maybe"', "is neither on nor off: give 1 or 0"),
    (INLINE, "2", "2", "is neither on nor off: give 1 or 0"),
    (FSYNC_INTERVAL, "fast", "true", "is no number: give seconds, 0 or more"),
    (FSYNC_INTERVAL, "nan", "nan", "is no number: give seconds, 0 or more"),
    (PATIENCE, "-1", "inf", "is no number: give seconds, 0 or more"),
    (SPOOL, "a\\0b", "3", "is no path: give a folder"),
    (DIR, "a\\0b", "[]", "is no path: give a folder"),
    (EXP, "a\\0b", "[]", "is no path: give a folder"),
    (SHIP, "runs", "3", "is no URL: give one such as s3://bucket/runs"),
    (SHIP_EVERY, "0", "0", "is too short: give seconds from 0.1 on"),
]


@pytest.fixture
def project(tmp_path, monkeypatch):
    """An empty folder without settings, as the current one."""
    for setting in SETTINGS:
        monkeypatch.delenv(setting.env, raising=False)
    (tmp_path / "pyproject.toml").write_text("")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def write(folder, *lines):
    """Write the table of a project."""
    (folder / "pyproject.toml").write_text("\n".join(["[project]", 'name = "mlv user"', "[tool.mlv]", *lines]), "utf-8")


@pytest.mark.parametrize("setting", SETTINGS, ids=lambda setting: setting.key)
def test_defaults(project, setting):
    """Where nobody says anything, the default is in force."""
    assert setting.look_up() == settings.SettingValue(setting.default, "default")
    assert setting.get() == setting.get_or_default() == setting.default


@pytest.mark.parametrize(("setting", "text", "value", "said"), CASES)
def test_environment(project, monkeypatch, setting, text, value, said):
    """A variable gives the value, and is its source."""
    monkeypatch.setenv(setting.env, text)

    assert setting.look_up() == settings.SettingValue(value, setting.env)
    assert settings.value_text(setting.get()) == said


@pytest.mark.parametrize(
    ("setting", "line", "value"),
    [
        (DISABLED, "disabled = true", True),
        (DISABLED, "disabled = 0", False),
        (FSYNC_INTERVAL, "fsync_interval = 2", 2.0),
        (PATIENCE, "patience = 1.5", 1.5),
        (SPOOL, 'spool = "/scratch"', Path("/scratch")),
        (TAGS, 'tags = ["paper", "night"]', ("paper", "night")),
        (NAME, 'name = "digits"', "digits"),
    ],
)
def test_project_file(project, setting, line, value):
    """`[tool.mlv]` gives the value, and the file is its source."""
    write(project, line)

    assert setting.look_up() == settings.SettingValue(value, str(project / "pyproject.toml"))


def test_environment_wins_over_the_file(project, monkeypatch):
    """What stands in both is what the environment says."""
    write(project, "fsync_interval = 2")
    monkeypatch.setenv("MLV_FSYNC_INTERVAL", "5")

    assert FSYNC_INTERVAL.get() == 5


def test_an_empty_variable_means_the_default(project, monkeypatch):
    """So one script can be freed from what the file says for all."""
    write(project, 'spool = "/scratch"')
    monkeypatch.setenv("MLV_SPOOL", "")

    assert SPOOL.look_up() == settings.SettingValue(None, "default")


def test_relative_paths(project, monkeypatch):
    """A relative path begins in the folder of the file that has it; one from the environment in the current folder."""
    write(project, 'dir = "results"')
    (project / "src").mkdir()
    monkeypatch.chdir(project / "src")

    assert DIR.get() == project / "results"
    monkeypatch.setenv("MLV_DIR", "here")
    assert DIR.get() == project / "src" / "here"


def test_the_nearest_file(project, monkeypatch):
    """The nearest pyproject.toml counts, as it is now, whether or not it says anything about mlv."""
    write(project, "patience = 1")
    (project / "inner").mkdir()
    monkeypatch.chdir(project / "inner")
    assert PATIENCE.get() == 1

    (project / "inner" / "pyproject.toml").write_text("")
    assert PATIENCE.get() == 60
    write(project / "inner", "patience = 2.5")
    assert PATIENCE.get() == 2.5


@pytest.mark.parametrize(("setting", "text", "reason"), [(setting, text, reason) for setting, text, _, reason in BAD])
def test_bad_values_of_variables(project, setting, text, reason):
    """The error names the variable, the value, and what to give."""
    found = setting.look_up({setting.env: text.replace("\\0", "\0")})

    assert found.value == setting.default
    assert found.problem is not None
    assert found.problem.startswith(f"{setting.env}='{text[:1]}")
    assert found.problem.endswith(reason)


@pytest.mark.parametrize(("setting", "text", "reason"), [(setting, text, reason) for setting, _, text, reason in BAD])
def test_bad_values_in_the_file(project, setting, text, reason):
    """The error names the file, the key, the value, and what to give."""
    write(project, f"{setting.key} = {text}")

    with pytest.raises(InvalidArgument, match=reason) as caught:
        setting.get()
    assert str(caught.value).startswith(f"{setting.key} = ")
    assert str(project / "pyproject.toml") in str(caught.value)


def test_logging_goes_on(project, monkeypatch):
    """Where a training run needs a value, a bad one is warned about, and the default serves."""
    monkeypatch.setenv("MLV_FSYNC_INTERVAL", "fast")

    with pytest.warns(MlvWarning, match=r"MLV_FSYNC_INTERVAL='fast' is no number: .* The default serves: 1 s"):
        assert FSYNC_INTERVAL.get_or_default() == 1


def test_unknown_keys(project):
    """A key that nobody knows is warned about once, with those that are close."""
    write(project, "fsync_intervall = 3", "colour = 1", "patience = 2")

    with pytest.warns(MlvWarning) as caught:
        settings.warn_of_problems()
    settings.warn_of_problems()

    assert [str(warning.message).partition("has ")[2] for warning in caught] == [
        "'fsync_intervall', which is no setting: did you mean 'fsync_interval'?",
        "'colour', which is no setting: it may have disabled, dir, name, tags, exp, spool, fsync_interval, "
        "patience, inline, system, ranks_timeout, ranks, ship, ship_every, lake",
    ]
    assert PATIENCE.get() == 2


@pytest.mark.parametrize("text", [b"[tool.mlv", b"mlv = \xff", b"[tool]\nmlv = 3", b"[[tool.mlv]]\ndir = 'x'"])
def test_a_file_that_cannot_be_read(project, text):
    """A broken file is warned about once, and passed over."""
    (project / "pyproject.toml").write_bytes(text)

    with pytest.warns(MlvWarning, match="cannot be read|is no table"):
        settings.warn_of_problems()
    assert DIR.get() == Path("runs")


@pytest.mark.parametrize("text", [b"", b"[tool]\nother = 'mlv'", b"tool = 3\nmlv = 1", b"[broken"])
def test_files_that_say_nothing(project, text):
    """A file that does not name mlv is not looked at closely."""
    (project / "pyproject.toml").write_bytes(text)

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        settings.warn_of_problems()
    assert DIR.get() == Path("runs")


def test_a_current_folder_that_is_gone(project, monkeypatch):
    """There is no file then; a relative variable is a bad value."""
    (project / "gone").mkdir()
    monkeypatch.chdir(project / "gone")
    (project / "gone").rmdir()

    assert settings.project_file() is None
    assert DIR.look_up({"MLV_DIR": "x"}).problem is not None


def test_what_a_process_elsewhere_is_told(project, monkeypatch):
    """The writer, which works in another folder, gets what is in force here; what is bad it gets as default."""
    write(project, 'spool = "spool"', "fsync_interval = 0.5", "inline = true", 'patience = "long"', 'tags = ["a", "b"]')
    given = settings.as_environment()
    monkeypatch.chdir("/")

    assert given["MLV_SPOOL"] == str(project / "spool")
    found = [setting.look_up(given).value for setting in SETTINGS]
    assert found == [
        False,
        Path("runs"),
        None,
        ("a", "b"),
        None,
        project / "spool",
        0.5,
        60,
        True,
        10,
        300,
        "auto",
        None,
        10,
        None,
    ]


def test_reading_toml_is_not_imported_in_vain(python, tmp_path):
    """A project that does not name mlv costs no import."""
    (tmp_path / "pyproject.toml").write_text("[project]\n")
    source = "import sys\nfrom mlv import settings\nsettings.DIR.get()\nprint({'tomllib', 'tomli'} & sys.modules.keys())"
    assert python(source).stdout == "set()\n"

    write(tmp_path, "")
    assert "tom" in python(source, env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}).stdout
