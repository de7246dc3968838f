"""The command line on a bucket: `mlv pull`, and every command that reads, with a URL in the place of a path."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import time
import urllib.request
from dataclasses import replace
from pathlib import Path

import pytest
from bucket.laid import OTHER, lay, lay_lines

import mlv
from mlv.bucket import refresher
from mlv.bucket.mirror import Mirror
from mlv.bucket.store import open_store
from mlv.cli import urls
from mlv.store.mirrors import mirrors_folder

pytest.importorskip("obstore")
pytestmark = pytest.mark.usefixtures("inline", "own_cache")


@pytest.fixture
def bucket(tmp_path) -> str:
    """A root with two experiments, shipped whole."""
    url = f"file://{tmp_path}/bucket/my runs".replace(" ", "%20")
    (tmp_path / "bucket" / "my runs").mkdir(parents=True)
    for name, rate in (("long", 0.1), ("group/short", 0.2)):
        exp = mlv.Exp(tmp_path / "node" / Path(name).parent, Path(name).name, {"lr": rate}, capture=())
        for step in range(3):
            exp.log({"loss": rate / (step + 1)}, step=step)
        with exp.file("conf.txt", "w") as file:
            file.write(name)
        exp.close()
        lay(exp.path, open_store(url), name, parts=2)
    return url


def test_every_command_that_reads(command, bucket):
    """A URL of a root, or of an experiment, stands where a path may stand."""
    listed = command("ls", bucket)
    assert (listed.returncode, listed.stderr) == (0, "")
    assert "long" in listed.stdout and "short" in listed.stdout  # noqa: PT018 - one promise
    assert [
        json.loads(line)["name"] for line in command("ls", bucket, "--where", "params.lr > 0.15", "--json").stdout.splitlines()
    ] == ["short"]
    for words in (
        ("show", f"{bucket}/long"),
        ("summary", f"{bucket}/long"),
        ("tail", f"{bucket}/long"),
        ("show", "short", "--root", bucket),
        ("compare", f"{bucket}/long", f"{bucket}/group/short"),
        ("compare", bucket),
    ):
        shown = command(*words)
        assert (shown.returncode, shown.stderr) == (0, ""), words
        assert "loss" in shown.stdout, words
    assert f"{bucket}/long" in command("show", f"{bucket}/long").stdout


def test_a_folder_that_has_the_url_for_its_path(command, bucket, tmp_path, monkeypatch):
    """A program that took the URL for a path leaves such a folder, which changes nothing."""
    monkeypatch.chdir(tmp_path)
    Path(bucket).mkdir(parents=True)
    assert "long" in command("ls", bucket).stdout
    assert [path.name for path in mlv.find(bucket).paths] == ["short", "long"]
    assert mlv.Exp.open(f"{bucket}/long").name == "long"


def test_sql_and_plot(command, bucket):
    """Tables and figures are made of a bucket as of a folder."""
    pytest.importorskip("duckdb")
    pytest.importorskip("pyarrow")

    shown = command("sql", bucket, "select name from experiments order by name", "--csv")

    assert shown.stdout.split() == ["name", "long", "short"]


def test_pull(command, bucket, tmp_path):
    """A pull brings lines, and files where they are wanted; the second one finds nothing lacking."""
    assert command("pull", bucket, "here", "--dry-run").returncode == 0
    assert not (tmp_path / "here").exists()

    done = command("pull", bucket, "here")
    assert (done.returncode, done.stderr) == (0, "")
    assert "here/long (new): brought " in done.stdout
    assert not (tmp_path / "here" / "long" / "files").exists()
    assert (tmp_path / "here/long/log.jsonl").read_bytes() == (tmp_path / "node/long/log.jsonl").read_bytes()

    assert command("pull", bucket, "here", "--files").returncode == 0
    assert (tmp_path / "here/group/short/files/conf.txt").read_text() == "group/short"
    assert command("pull", bucket, "here", "--files").stdout == "nothing is lacking in here\n"
    assert command("verify", "here/long").returncode == 0


def test_pull_some(command, bucket, tmp_path):
    """`--where` chooses; nothing else is made."""
    assert command("pull", bucket, "here", "--where", "params.lr > 0.15").returncode == 0
    assert [path.parent.name for path in (tmp_path / "here").rglob("meta.json")] == ["short"]
    none = command("pull", bucket, "here", "--where", "params.lr > 7")
    assert (none.returncode, none.stdout) == (0, "")
    assert "matches --where" in none.stderr


def test_pull_unites(command, bucket, tmp_path):
    """Lines that another copy shipped join those that are here; what differs is told, and stays as it is."""
    command("pull", bucket, "here")
    clone = Path(shutil.copytree(tmp_path / "node" / "long", tmp_path / "clone"))
    other = mlv.Exp.open(clone, capture=())
    other.log({"loss": 0.01}, step=9)
    other.close()
    lay(clone, open_store(f"{bucket}/long"), copy=OTHER)

    assert command("pull", bucket, "here").returncode == 0
    assert (tmp_path / "here/long/log.jsonl").read_bytes() == (clone / "log.jsonl").read_bytes()
    log = tmp_path / "here/group/short/log.jsonl"
    log.chmod(0o644)
    log.write_bytes(log.read_bytes().replace(b'"loss":0.2', b'"loss":0.3'))
    done = command("pull", bucket, "here")
    assert done.returncode == 1
    assert "is another one than ours, which stays" in done.stdout


def test_runs_that_are_not_whole_are_told(command, tmp_path):
    """A listing says which experiments more is on its way of."""
    exp = mlv.Exp(tmp_path / "node", "long", {}, capture=())
    exp.log({"loss": 1.0}, step=0)
    exp.flush()
    (tmp_path / "bucket").mkdir()
    lay(exp.path, open_store(f"file://{tmp_path}/bucket"), "long", whole=False)

    listed = command("ls", f"file://{tmp_path}/bucket")
    exp.close()

    assert listed.returncode == 0
    assert "running" in listed.stdout
    assert listed.stderr == "mlv: not shipped whole yet: long\n"


def test_tail_follows_a_bucket(tmp_path):
    """`mlv tail -f URL` prints lines as they are shipped, and ends with the run."""
    exp = mlv.Exp(tmp_path / "node", "long", {}, capture=())
    exp.log({"loss": 1.0}, step=0)
    exp.flush()
    (tmp_path / "bucket").mkdir()
    store = open_store(f"file://{tmp_path}/bucket/long")
    lay(exp.path, store, whole=False)
    with subprocess.Popen(
        [sys.executable, "-u", "-m", "mlv", "tail", "-f", f"file://{tmp_path}/bucket/long"], stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        while "loss" not in process.stdout.readline():
            pass
        exp.log({"gain": 2.0}, step=1)
        exp.close()
        lay_lines(exp.path, store, "")
        later, _ = process.communicate(timeout=60)

    assert "gain" in later
    assert process.returncode == 0


def test_processes_that_are_killed_while_they_read(bucket, tmp_path):
    """Wherever a reader is killed, and two at once, the next one has all there is."""
    for name in range(6):
        lay(tmp_path / "node" / "long", open_store(bucket), f"more/{name}", parts=3)
    whole = (tmp_path / "node" / "long" / "log.jsonl").read_bytes()
    code = f"from mlv.bucket.mirror import Mirror; print('ready', flush=True); print(Mirror({bucket!r}).refresh().notices)"

    def started() -> subprocess.Popen[str]:
        return subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)

    for pause_s in (0.02, 0.05, 0.1):
        with started() as reader:
            assert reader.stdout is not None
            reader.stdout.readline()
            time.sleep(pause_s)
            reader.kill()
        with started() as first, started() as second:
            assert [one.communicate(timeout=60)[0].split() for one in (first, second)] == [["ready", "[]"]] * 2
        folder = Mirror(bucket).folder
        assert {path.read_bytes() for path in folder.rglob("log.jsonl") if path.parent.name != "short"} == {whole}
        assert len(list(folder.rglob("log.jsonl"))) == 8
        shutil.rmtree(mirrors_folder())


def test_a_full_disk(bucket, tmp_path):
    """Where no room is left, the error names the mirror, and nothing half written is taken for the log."""
    lines = (tmp_path / "node" / "long" / "log.jsonl").read_bytes()
    big = tmp_path / "big"
    big.mkdir()
    (big / "meta.json").write_bytes((tmp_path / "node" / "long" / "meta.json").read_bytes())
    (big / "log.jsonl").write_bytes(lines + lines[: lines.find(b"\n") + 1] * 2000)
    lay(big, open_store(bucket), "big")
    command = ["bash", "-c", f"ulimit -f 200; exec {sys.executable} -m mlv ls '{bucket}'"]

    full = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert full.returncode == 2
    assert "cannot be written: File too large. Make room there, or set XDG_CACHE_HOME" in full.stderr
    mirror = Mirror(bucket)
    assert not (mirror.folder / "big" / "log.jsonl").exists()

    mirror.refresh()
    assert (mirror.folder / "big" / "log.jsonl").read_bytes() == (big / "log.jsonl").read_bytes()


def test_the_page_of_a_bucket(bucket, tmp_path):
    """`mlv ui URL` shows what is in the bucket, files included, and what is shipped while it is open."""
    pytest.importorskip("uvicorn", reason="the page needs mlvlogger[ui]")
    pytest.importorskip("starlette", reason="the page needs mlvlogger[ui]")
    command = [sys.executable, "-m", "mlv", "ui", bucket, "--no-open", "--port", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as process:
        assert process.stdout is not None
        try:
            line = next(line for line in process.stdout if "http://" in line)
            url = line[line.index("http://") :].strip()
            assert b"short" in asked(f"{url}api/index")
            assert f"mlv ls {bucket}" in json.loads(asked(f"{url}api/code"))["shell"]
            with mlv.Exp(tmp_path / "node", "later", {}, capture=()) as exp:
                exp.log({"loss": 0.1}, step=0)
            lay(exp.path, open_store(bucket), "later")
            deadline = time.monotonic() + 60
            while b"later" not in asked(f"{url}api/index"):
                assert time.monotonic() < deadline
                time.sleep(0.1)
        finally:
            process.kill()
            process.stdout.close()


def asked(url: str) -> bytes:
    with urllib.request.urlopen(url) as answer:
        return answer.read()


def test_a_look_that_fails_is_not_the_last(bucket, monkeypatch, capsys):
    """A mirror that cannot be written for a while, as on a full disk, is told once, and ends nothing."""
    monkeypatch.setattr(refresher, "LOOK_EVERY_S", 0.0)
    mirror = Mirror(bucket)
    (home,) = {path.parent for path in mirror.refresh().folders[0].parents if path.name == "tree"}
    refresh = urls.refresher(bucket)
    shutil.rmtree(home / "state")
    (home / "state").write_text("in the way")
    assert not any(refresh() for _ in range(2))
    assert capsys.readouterr().err.count("cannot be written: File exists") == 1

    (home / "state").unlink()
    shutil.rmtree(mirror.folder)
    assert refresh()
    assert (mirror.folder / "long" / "log.jsonl").exists()


def test_the_page_judges_what_lies_in_the_bucket(bucket, tmp_path):
    """Files that nobody opened are not missing, and a bucket that is away takes nothing from the page but what lies there."""
    from mlv.web.experiment import verified, with_diff
    from mlv.web.index import PageIndex

    mirror = Mirror(bucket)
    mirror.refresh()
    index = PageIndex(mirror.folder)
    index.refresh()
    (row,) = [row for row in index.rows() if row.digest.name == "long"]
    assert verified(row)["verdict"] == "intact"

    reference = {"_mlv": "file", "path": "files/conf.txt", "size": 4, "sha256": "0" * 64}
    digest = replace(row.digest, meta={**row.digest.meta, "git": {"diff": {"file": reference}}})
    shutil.rmtree(tmp_path / "bucket")
    assert with_diff(digest) == {"diff": {"file": reference}}


def test_outputs_of_a_bucket_go_elsewhere(command, bucket, tmp_path):
    """An output is not built into a mirror."""
    refused = command("export", f"{bucket}/long", "--to", "csv")
    assert refused.returncode == 2
    assert "give --out DIR" in refused.stderr
    assert command("export", f"{bucket}/long", "--to", "csv", "--out", "table").returncode == 0
    assert list((tmp_path / "table").iterdir())


@pytest.mark.parametrize(
    ("url", "text"),
    [
        ("hdfs://lab/runs", "is an address"),
        ("file:///nowhere/at/all", "there is no such folder"),
        ("file://{tmp}/empty", "holds no experiment"),
        ("file://{tmp}/lake", "holds no experiment: what lies there is a Delta table"),
        ("s3://lab/runs?profile=x", "options endpoint and region, not profile"),
        ("s3://lab/../x", "cannot be mirrored"),
        ("s3://user:secret@lab/x", "holds a user or password"),
    ],
)
def test_bad_urls(command, tmp_path, url, text):
    """The error is one line, and says what is wrong."""
    (tmp_path / "empty").mkdir()
    (tmp_path / "lake" / "_delta_log").mkdir(parents=True)
    (tmp_path / "lake" / "_delta_log" / "0.json").write_bytes(b"{}")

    shown = command("ls", url.format(tmp=tmp_path))

    assert (shown.returncode, shown.stdout) == (2, "")
    assert text in shown.stderr
    assert "secret" not in shown.stderr
    assert len(shown.stderr.splitlines()) == 1


def test_a_root_is_no_experiment(command, bucket):
    """Where one experiment is wanted, a root is told as one."""
    shown = command("show", bucket)

    assert shown.returncode == 2
    assert "is no experiment, but holds some: `mlv ls file://" in shown.stderr
