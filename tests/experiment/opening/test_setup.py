"""Making an experiment: its folder, its meta.json, its name."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import pytest
from conftest import fork

import mlv
from mlv import Exp, ExperimentExists, InvalidArgument, InvalidName, SavedirUnusable

pytestmark = pytest.mark.usefixtures("inline")


def made(savedir: Any, name: Any = "exp", params: Any = None, **options: Any) -> Exp:
    return Exp(savedir, name, params, **{"capture": (), **options})


class TestFolder:
    def test_what_is_there(self, tmp_path):
        """`<savedir>/<name>` holds meta.json and log.jsonl; savedir is made where it is missing."""
        with made(tmp_path / "a" / "b") as exp:
            assert exp.path == tmp_path / "a" / "b" / "exp"

        assert sorted(entry.name for entry in exp.path.iterdir() if not entry.name.startswith(".")) == [
            "log.jsonl",
            "meta.json",
        ]

    def test_meta(self, tmp_path):
        """meta.json says what the experiment is."""
        before = datetime.now(timezone.utc).strftime("%Y-%m-%dT%H:%M:%S")
        with made(tmp_path, params={"lr": 0.1}, kind="train", tags=["a", "b", "a"], notes="Why.") as exp:
            meta = json.loads((exp.path / "meta.json").read_bytes())

        assert list(meta)[:8] == ["format", "name", "kind", "created", "params", "parent", "tags", "notes"]
        assert {"script", "git", "env", "machine"} <= set(meta)
        assert (meta["format"], meta["name"], meta["kind"], meta["params"]) == (1, "exp", "train", {"lr": 0.1})
        assert (meta["tags"], meta["notes"], meta["parent"]) == (["a", "b"], "Why.", None)
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z", meta["created"])
        assert meta["created"] >= before
        assert exp.meta == meta

    def test_the_id_is_the_hash_of_the_file(self, tmp_path):
        """The ID is the SHA-256 of the bytes of meta.json, and every run repeats it."""
        with made(tmp_path) as exp:
            pass

        assert exp.id == hashlib.sha256((exp.path / "meta.json").read_bytes()).hexdigest()
        assert exp.short_id == exp.id[:8]
        assert [event.data["exp"] for event in exp.events("run_started")] == [exp.id]

    @pytest.mark.skipif(shutil.which("sha256sum") is None, reason="sha256sum is not installed")
    def test_sha256sum_agrees(self, tmp_path):
        """`sha256sum meta.json` prints the ID."""
        exp = made(tmp_path)

        printed = subprocess.run(["sha256sum", "meta.json"], cwd=exp.path, capture_output=True, text=True, check=True).stdout

        assert printed.split()[0] == exp.id

    def test_read_only(self, tmp_path):
        """meta.json is read-only, and made whole: no other file is left beside it."""
        exp = made(tmp_path)

        assert (exp.path / "meta.json").stat().st_mode & 0o777 == 0o444
        assert [name for name in os.listdir(exp.path) if "tmp" in name] == []

    def test_properties(self, tmp_path):
        """What was given can be read back."""
        with made(tmp_path, kind="train", tags=["a"], notes="Why.") as exp:
            assert (exp.name, exp.kind, exp.tags, exp.notes) == ("exp", "train", ("a",), ("Why.",))
            assert (exp.parent, exp.sub_exps) == (None, [])
            assert repr(exp) == f"<Exp 'exp' {exp.short_id} at {str(exp.path)!r}>"

    def test_an_exp_does_not_change(self, exp):
        """No attribute can be set, added or removed."""
        for name in ("id", "name", "params", "path", "_meta", "anything"):
            with pytest.raises(AttributeError, match="an Exp does not change"):
                setattr(exp, name, 1)
            with pytest.raises(AttributeError, match="an Exp does not change"):
                delattr(exp, name)

    def test_equality(self, tmp_path):
        """The same experiment, opened twice, is equal; another one is not."""
        one, other = made(tmp_path), made(tmp_path)

        assert one == Exp.open(one.path)
        assert len({one, Exp.open(one.path), other}) == 2

    def test_the_path_is_said_once(self, tmp_path, capsys):
        """The path is said on stderr, once, and the digest when it is closed; nothing on stdout."""
        with made(tmp_path) as exp:
            exp.log({"a": 1})

        assert capsys.readouterr() == ("", f"mlv: {exp.path}\nmlv: exp is complete, digest {exp.digest}\n")

    def test_captures(self, tmp_path):
        """What is recorded about the process can be chosen; what is not asked for is null."""
        with made(tmp_path, capture=["script"]) as exp:
            assert exp.meta["script"] is not None
            assert (exp.meta["git"], exp.meta["env"], exp.meta["machine"]) == (None, None, None)

    def test_surrogates_around(self, tmp_path, monkeypatch):
        """Arguments and variables that are not UTF-8 keep no experiment from starting."""
        monkeypatch.setattr(sys, "argv", ["script.py", "\udcff"])
        monkeypatch.setenv("ODD", "\udcff")

        with made(tmp_path, capture=("script", "env"), notes="note \ud800", tags=["\udcff"]) as exp:
            assert Exp.open(exp.path).id == exp.id

    def test_home(self, tmp_path, monkeypatch):
        """`~` in savedir is the home folder."""
        monkeypatch.setenv("HOME", str(tmp_path))

        assert made("~/runs").path == tmp_path / "runs" / "exp"

    @pytest.mark.parametrize("kind", [str, Path, os.fsencode], ids=["str", "Path", "bytes"])
    def test_paths(self, tmp_path, kind):
        """savedir is a path of any kind."""
        assert made(kind(str(tmp_path))).path == tmp_path / "exp"

    def test_relative(self, tmp_path, monkeypatch):
        """A relative savedir is taken once: changing the current folder afterwards does not matter."""
        monkeypatch.chdir(tmp_path)
        with made("runs") as exp:
            monkeypatch.chdir("/")
            exp.log({"a": 1})

        assert exp.path == tmp_path / "runs" / "exp"
        assert [event.data for event in exp.events("metrics")] == [{"a": 1}]


class TestNames:
    def test_none_is_the_time(self, tmp_path):
        """Without a name it is the local time, without colons; two in one second get a suffix."""
        names = [made(tmp_path, None).name for _ in range(3)]

        assert all(re.fullmatch(r"\d{4}-\d\d-\d\d_\d\d-\d\d-\d\d(_\d)?", name) for name in names)
        assert len(set(names)) == 3

    def test_taken(self, tmp_path):
        """A name that is taken gets the next suffix; meta.json knows it."""
        names = [made(tmp_path).name for _ in range(3)]

        assert names == ["exp", "exp_1", "exp_2"]
        assert json.loads((tmp_path / "exp_2" / "meta.json").read_bytes())["name"] == "exp_2"

    @pytest.mark.parametrize("what", ["file", "folder", "link"])
    def test_taken_by_something_else(self, tmp_path, what):
        """A name is also taken by what is no experiment."""
        taken = tmp_path / "exp"
        {"file": lambda: taken.write_text(""), "folder": taken.mkdir, "link": lambda: taken.symlink_to("nowhere")}[what]()

        assert made(tmp_path).name == "exp_1"

    def test_error(self, tmp_path):
        """`on_exists="error"` raises where the name is taken, and changes nothing there."""
        made(tmp_path).close()
        before = sorted(tmp_path.rglob("*"))

        with pytest.raises(ExperimentExists, match="exists: choose another name, or on_exists='suffix' or 'open'") as caught:
            made(tmp_path, on_exists="error")

        assert isinstance(caught.value, FileExistsError)
        assert sorted(tmp_path.rglob("*")) == before

    @pytest.mark.parametrize(
        "name", ["a b", "ünïcode", "日本", "a.b", "-x", "~x", "a:b", "*", "x" * 200, "CON", "a'b", "{x}", "%s"]
    )
    def test_strange_but_good(self, tmp_path, name):
        """A name is any text that a file system can hold."""
        with made(tmp_path, name) as exp:
            exp.log({"a": 1})

        assert Exp.open(tmp_path / name).name == name
        assert len(list(exp.events("metrics"))) == 1

    @pytest.mark.parametrize(
        "name",
        [
            "",
            ".",
            "..",
            "...",
            " ",
            "a/b",
            "a\\b",
            "/",
            "../x",
            "a\0b",
            "a\nb",
            "\x7f",
            "x" * 201,
            "é" * 101,
            ".mlv",
            "\ud800",
            3,
            b"x",
        ],
        ids=lambda name: ascii(name)[:12],
    )
    def test_bad(self, tmp_path, name):
        """A name that cannot be one is refused with its value, and nothing is made."""
        with pytest.raises(InvalidName, match="experiment name"):
            made(tmp_path / "runs", name)

        assert not (tmp_path / "runs").exists()

    def test_params_in_the_place_of_the_name(self, tmp_path):
        """A mapping given as the name is a slip with a hint."""
        with pytest.raises(InvalidName, match=r"params are the third argument: Exp\(savedir, name, params\)"):
            Exp(tmp_path, {"lr": 0.1})  # type: ignore[arg-type]

    @pytest.mark.parametrize(
        "kind", ["log", "files", "models", "system", "console", "rank0", "rank12", "Log", "a@b", "a/b", ".x", "", 3]
    )
    def test_kinds(self, tmp_path, kind):
        """A kind that is reserved, or no name, is refused."""
        with pytest.raises(InvalidName, match="kind"):
            made(tmp_path / "runs", kind=kind)

        assert not (tmp_path / "runs").exists()

    @pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
    @pytest.mark.filterwarnings("ignore:.*multi-threaded, use of fork.*:DeprecationWarning")
    def test_fifty_at_once(self, tmp_path):
        """Fifty processes that ask for one name at once get fifty experiments."""
        begin, begun = os.pipe()

        def make() -> None:
            os.close(begun)
            os.read(begin, 1)  # until all are there
            with Exp(tmp_path / "runs", "exp", {"pid": os.getpid()}, capture=()) as exp:
                exp.log({"pid": os.getpid()})

        pids = [fork(make) for _ in range(50)]
        os.close(begin)
        os.close(begun)
        assert [os.waitpid(pid, 0)[1] for pid in pids] == [0] * 50

        found = [Exp.open(folder) for folder in (tmp_path / "runs").iterdir()]
        assert sorted(exp.name for exp in found) == sorted(["exp", *(f"exp_{number}" for number in range(1, 50))])
        assert len({exp["pid"] for exp in found}) == 50
        assert all([event.data for event in exp.events("metrics")] == [{"pid": exp["pid"]}] for exp in found)


class TestBadPlaces:
    def test_a_file(self, tmp_path):
        """A savedir that is a file is refused."""
        (tmp_path / "file").write_text("mine")

        with pytest.raises(SavedirUnusable, match="is a file: give a folder") as caught:
            made(tmp_path / "file")

        assert isinstance(caught.value, OSError)
        assert caught.value.path == str(tmp_path / "file")
        assert (tmp_path / "file").read_text() == "mine"

    def test_below_a_file(self, tmp_path):
        """So is one below a file."""
        (tmp_path / "file").write_text("")

        with pytest.raises(SavedirUnusable, match="Give a folder that you may write to"):
            made(tmp_path / "file" / "runs")

    @pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
    def test_not_writable(self, tmp_path):
        """A savedir that may not be written is refused."""
        tmp_path.chmod(0o500)
        try:
            with pytest.raises(SavedirUnusable, match="Permission denied"):
                made(tmp_path)
        finally:
            tmp_path.chmod(0o700)

    def test_a_system_folder(self):
        """So is one where nobody may make anything."""
        with pytest.raises(SavedirUnusable, match="nothing can be made in savedir '/proc/runs'"):
            made("/proc/runs")

    @pytest.mark.parametrize("savedir", [3, {"lr": 1}, ["a"], "a\0b", b"a\xffb"])
    def test_no_path(self, savedir):
        """A savedir that is no path is refused with its value."""
        with pytest.raises(InvalidArgument, match="savedir="):
            made(savedir)

    @pytest.mark.parametrize(
        ("options", "says"),
        [
            ({"on_exists": "overwrite"}, "give 'suffix', 'open' or 'error'"),
            ({"on_exists": None}, "on_exists=None"),
            ({"tags": "one"}, r"give a list, \['one'\]"),
            ({"tags": ["a", 3]}, "tag 3"),
            ({"tags": [""]}, "tag ''"),
            ({"tags": 3}, "tags=3"),
            ({"notes": 3}, "notes=3"),
            ({"notes": {"a": object()}}, "notes="),
            ({"capture": ["scripts"]}, "'scripts' is none of script, git, env, machine"),
            ({"capture": "git"}, "capture='git'"),
            ({"name": None, "on_exists": "open"}, "needs a name"),
        ],
    )
    def test_options(self, tmp_path, options, says):
        """An option with a value that it cannot have is refused, and nothing is made."""
        with pytest.raises(InvalidArgument, match=says):
            made(tmp_path / "runs", **options)

        assert not (tmp_path / "runs").exists()

    @pytest.mark.parametrize("option", ["redact", "keep"])
    def test_patterns(self, tmp_path, option):
        """A pattern that is none is refused."""
        with pytest.raises(mlv.InvalidPattern):
            made(tmp_path / "runs", **{option: ["("]})

        assert not (tmp_path / "runs").exists()
