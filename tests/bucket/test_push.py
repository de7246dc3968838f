"""`mlv push`: a tree in a bucket, as often as asked, whoever else pushes it and whoever is killed."""

import json
import os
import shutil
import signal
import subprocess
import sys
import threading
from datetime import datetime, timedelta, timezone

import pytest
from bucket.contents import chains, copy_of, is_whole, shipped
from bucket.memory import MemoryStore
from conftest import wait_until
from signalling import send

import mlv
from mlv.bucket import positions
from mlv.bucket.names import Segment
from mlv.bucket.push import Push
from mlv.bucket.pushed_tree import PushedTree
from mlv.bucket.store import open_store
from mlv.errors import BucketDenied, BucketUnreachable, NotAnExperiment


def make_tree(root, count=3):
    folders = []
    for number in range(count):
        with mlv.Exp(root / f"project{number % 2}", f"e{number}", {"n": number}, capture=(), system=False) as exp:
            exp.log({"loss": number}, step=0)
            with exp.file("notes.txt", "w") as file:
                file.write(f"notes {number}")
        folders.append(exp.path)
    return folders


def push(root, store, **options):
    pushing = Push(root, store, **options)
    return list(pushing.run(pushing.experiments()))


@pytest.fixture
def store():
    return MemoryStore()


pytestmark = pytest.mark.usefixtures("inline")


def test_a_tree(tmp_path, store):
    """Each experiment is at its path below the root."""
    make_tree(tmp_path / "runs")

    results = push(tmp_path / "runs", store)

    assert [result.path for result in results] == ["project0/e0", "project0/e2", "project1/e1"]
    assert store.content["project0/e2/files/notes.txt"] == b"notes 2"
    assert all(result.is_well and result.segments == 1 and result.files == 1 for result in results)


def test_nothing_new_costs_three_requests_at_most(tmp_path, store):
    """Pushing again uploads nothing, and hardly asks."""
    make_tree(tmp_path / "runs", 20)
    push(tmp_path / "runs", store)
    store.requests.clear()

    results = push(tmp_path / "runs", store)

    assert all(result.is_empty and result.is_well for result in results)
    assert len(store.requests) <= 3
    assert {call for call, _ in store.requests} <= {"head"}


def test_news_cost_what_they_are(tmp_path, store):
    """An experiment that grew costs its own uploads; the others cost nothing."""
    folders = make_tree(tmp_path / "runs", 20)
    push(tmp_path / "runs", store)
    exp = mlv.Exp.open(folders[0], capture=(), system=False)
    exp.log({"loss": 0.0}, step=1)
    exp.flush()
    store.requests.clear()

    push(tmp_path / "runs", store)
    exp.close()

    assert [call for call, _ in store.requests if call != "head"] == ["create"]


def test_a_bucket_that_was_emptied(tmp_path, store):
    """What positions tell is not believed where the bucket says otherwise."""
    make_tree(tmp_path / "runs")
    push(tmp_path / "runs", store)
    content = dict(store.content)
    store.content.clear()

    push(tmp_path / "runs", store)

    assert {key for key in store.content if "/files/" in key} == {key for key in content if "/files/" in key}
    assert {key for key in store.content if key.endswith(".gz")} == {key for key in content if key.endswith(".gz")}


def test_two_at_once(tmp_path, store):
    """Both may push one folder, from the beginning to the end."""
    folders = make_tree(tmp_path / "runs", 6)
    threads = [threading.Thread(target=push, args=(tmp_path / "runs", store)) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    results = push(tmp_path / "runs", store)

    assert all(result.is_well for result in results)
    assert sorted(key for key in store.content if key.endswith("notes.txt")) == sorted(
        f"{folder.relative_to(tmp_path / 'runs').as_posix()}/files/notes.txt" for folder in folders
    )


def test_one_experiment(tmp_path, store):
    """It is what lies at the URL."""
    folder = make_tree(tmp_path / "runs", 1)[0]

    assert [result.path for result in push(folder, store)] == [""]
    assert store.content["meta.json"] == (folder / "meta.json").read_bytes()


def test_one_experiment_of_a_tree(tmp_path, store):
    """By itself it goes on where it was shipped to with its tree."""
    folder = make_tree(tmp_path / "runs", 2)[1]
    push(tmp_path / "runs", store)

    assert [result.path for result in push(folder, store)] == ["project1/e1"]
    assert "meta.json" not in store.content


def test_a_store_that_fails_now_and_then(tmp_path):
    """A call that fails is made again."""
    failures = iter([True, False] * 1000)

    def fail(call, key):
        if call == "create" and next(failures):
            raise BucketUnreachable("away")

    store = MemoryStore(fail)
    make_tree(tmp_path / "runs", 1)
    pushing = Push(tmp_path / "runs", store)

    pushing.stop()  # no patience
    with pytest.raises(BucketUnreachable):
        list(pushing.run(pushing.experiments()))
    assert push(tmp_path / "runs", store, with_files=False)[0].is_well


def test_an_experiment_that_was_moved(tmp_path, store):
    """It is shipped at its new path, and one note names both; what is at the former one stays."""
    folder, *_ = make_tree(tmp_path / "runs")
    sub = mlv.init_sub_exp(mlv.Exp.open(folder).checkpoints().save({"w": 1}, step=1), "squeeze")
    sub.close()
    push(tmp_path / "runs", store)
    before = dict(store.content)
    shutil.copytree(folder, tmp_path / "runs" / "clone", symlinks=True)
    mlv.Exp.open(folder).move(tmp_path / "runs" / "archive")

    tree = PushedTree(tmp_path / "runs", store.url)
    planned = [note for each in tree.experiments() for note in tree.pending(each, with_files=True).notes]
    moved = push(tmp_path / "runs", store)
    again = push(tmp_path / "runs", store)

    (note,) = [note for outcome in moved for note in outcome.notes]
    assert planned == [note]
    assert "at project0/e0 before, and goes to archive now: what is at project0/e0 stays" in note
    assert all(outcome.is_well for outcome in moved)
    assert {key: store.content[key] for key in before} == before
    assert store.content["archive/files/notes.txt"] == b"notes 0"
    assert [outcome.notes for outcome in again if outcome.notes or not outcome.is_empty] == []


def test_a_refusal_ends_it(tmp_path):
    """Without the right to write nothing is tried again."""

    def refuse(call, key):
        if call == "create":
            raise BucketDenied("no right to write")

    make_tree(tmp_path / "runs", 1)
    with pytest.raises(BucketDenied):
        push(tmp_path / "runs", MemoryStore(refuse))


def test_a_file_that_the_bucket_refuses(tmp_path):
    """It is named, and keeps back neither the other files nor the other experiments; nothing is whole without it."""

    def refuse(call, key):
        if call == "create" and "e1/files/notes.txt" in key:
            raise BucketDenied("no right to write it")

    _, second, _ = make_tree(tmp_path / "runs")
    (second / "files/other.txt").write_text("other")
    os.utime(second / "files/other.txt", (0, 0))
    store = MemoryStore(refuse)

    by_path = {shipped.path: shipped for shipped in push(tmp_path / "runs", store)}

    assert by_path["project1/e1"].unshipped == {"files/notes.txt": "no right to write it"}
    assert [shipped.is_well for path, shipped in sorted(by_path.items())] == [True, True, False]
    assert store.content["project1/e1/files/other.txt"] == b"other"
    assert {key.rpartition("/.mlv/")[0] for key in store.content if "/whole/" in key} == {"project0/e0", "project0/e2"}
    assert positions.read(second, store.url).problem == "no right to write it"


def test_an_experiment_whose_name_no_object_can_have(tmp_path):
    """It is named, and the others are shipped."""
    pytest.importorskip("obstore", reason="needs the extra 'bucket'")
    store = open_store(f"file://{tmp_path}/bucket")
    folders = make_tree(tmp_path / "runs")
    folders[1].rename(folders[1].with_name(os.fsdecode(b"caf\xe9")))

    outcomes = push(tmp_path / "runs", store)

    assert sorted(outcome.is_well for outcome in outcomes) == [False, True, True]
    assert {stored.key.rpartition("/")[0] for stored in store.objects() if stored.key.endswith("meta.json")} == {
        "project0/e0", "project0/e2",
    }  # fmt: skip


TRAINING = """
import sys
import mlv

exp = mlv.Exp("runs", "digits", capture=(), system=False)
for step in range(5):
    exp.log({"loss": step}, step=step)
    exp.flush()
    print("ready", flush=True)
    sys.stdin.readline()
"""


@pytest.mark.skipif(sys.platform == "win32", reason="kills a process")
def test_a_killed_run(tmp_path, store):
    """Its small segments are merged to one: nobody will seal it. As long as it lives they wait for more."""
    training = subprocess.Popen(
        [sys.executable, "-c", TRAINING], cwd=tmp_path, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    for _ in range(4):
        assert training.stdout.readline() == "ready\n"
        push(tmp_path / "runs", store)
        training.stdin.write("\n")
        training.stdin.flush()
    living = [key for key in store.content if key.endswith(".gz")]
    training.kill()
    training.communicate()

    push(tmp_path / "runs", store)

    folder = tmp_path / "runs/digits"
    merged = Segment("log", copy_of(folder), 0, (folder / "log.jsonl").stat().st_size)
    assert len(living) == 4
    assert [key for key in store.content if key.endswith(".gz")] == [f"digits/{merged.key}"]


def test_an_interruption(tmp_path):
    """Nobody waits for a store that is away: what is being tried again ends as well."""
    tries, is_tried = [], threading.Event()

    def answer(call, key):
        if "e1" in key:
            tries.append(key)
            is_tried.set()
            raise BucketUnreachable("away")
        if call == "create" and "e0" in key:
            assert is_tried.wait(30)
            raise KeyboardInterrupt

    make_tree(tmp_path / "runs", 2)
    with pytest.raises(KeyboardInterrupt):
        push(tmp_path / "runs", MemoryStore(answer))
    assert len(tries) == 1


def test_a_folder_without_experiments(tmp_path, store):
    """It is an error."""
    with pytest.raises(NotAnExperiment, match="no experiments"):
        push(tmp_path, store)


def test_a_last_line_without_its_end(tmp_path, store):
    """It can be read, and is not shipped: the report says so."""
    folder = make_tree(tmp_path / "runs", 1)[0]
    with open(folder / "log.jsonl", "ab") as file:
        file.write(b'{"run":"r","seq":1}')

    assert "mlv recover" in push(tmp_path / "runs", store)[0].unshipped["log.jsonl"]


@pytest.fixture
def url(tmp_path):
    pytest.importorskip("obstore", reason="needs the extra 'bucket'")
    return f"file://{tmp_path}/bucket"


def test_the_command(tmp_path, url, command):
    """It says what it shipped; with nothing new, that; and exits with 0."""
    make_tree(tmp_path / "runs", 2)

    first, second = command("push", "runs", url), command("push", "runs", url)

    assert first.returncode == second.returncode == 0
    assert "project0/e0: shipped" in first.stdout
    assert "1 file" in first.stdout
    assert second.stdout == "2 experiments: nothing new\n"


def test_the_command_in_json(tmp_path, url, command):
    """A line for each experiment."""
    make_tree(tmp_path / "runs", 2)

    lines = command("push", "runs", url, "--json").stdout.splitlines()

    assert [json.loads(line)["path"] for line in lines] == ["project0/e0", "project1/e1"]


def test_a_dry_run(tmp_path, url, command):
    """Neither the folder nor the bucket changes: one that is not there is not made."""
    make_tree(tmp_path / "runs", 1)
    before = sorted((tmp_path / "runs").rglob("*"))

    result = command("push", "runs", url, "--dry-run")

    assert "would ship" in result.stdout
    assert sorted((tmp_path / "runs").rglob("*")) == before
    assert not (tmp_path / "bucket").exists()


def test_the_exit_status(tmp_path, url, command):
    """1 where another experiment holds the path, and the others are shipped."""
    make_tree(tmp_path / "runs", 2)
    (tmp_path / "bucket/project0/e0").mkdir(parents=True)
    (tmp_path / "bucket/project0/e0/meta.json").write_text("{}")

    result = command("push", "runs", url)

    assert result.returncode == 1
    assert "project0/e0/meta.json" in result.stdout
    assert (tmp_path / "bucket/project1/e1/meta.json").exists()


def test_without_files(tmp_path, url, command):
    """The logs alone, and no mark that all is there."""
    folder = make_tree(tmp_path / "runs", 1)[0]

    assert command("push", "runs", url, "--no-files").returncode == 0
    assert not (tmp_path / "bucket/project0/e0/files").exists()
    assert not is_whole(tmp_path / "bucket/project0/e0", folder)


@pytest.mark.skipif(sys.platform != "linux", reason="signals a process")
def test_following_a_tree(tmp_path, url, ring):
    """Lines and experiments arrive as they come; SIGTERM ships once more, and the exit status is 0."""
    (tmp_path / "runs").mkdir()
    arguments = [sys.executable, "-m", "mlv", "push", "runs", url, "--follow", "--every", "0.2"]
    daemon = subprocess.Popen(arguments, cwd=tmp_path, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    assert "waiting for the first one" in daemon.stderr.readline()
    exp = mlv.Exp(tmp_path / "runs", "a", capture=(), system=False)
    try:
        wait_until(lambda: chains(tmp_path / "bucket/a"))
        exp.log({"loss": 0.25}, step=1)
        wait_until(lambda: b'"loss":0.25' in shipped(tmp_path / "bucket/a", exp.path))
        exp.log({"loss": 0.75}, step=2)
        exp.flush()
        send(daemon.pid, signal.SIGTERM)
        assert daemon.wait(30) == 0
        assert b'"loss":0.75' in shipped(tmp_path / "bucket/a", exp.path)
    finally:
        daemon.kill()
        daemon.wait()
        daemon.stderr.close()
        exp.close()


@pytest.mark.skipif(sys.platform != "linux", reason="signals a process")
def test_the_report_of_a_process_that_goes_on(tmp_path, url, ring):
    """It is there at once, also in a file, as where Kubernetes keeps the output of a sidecar."""
    make_tree(tmp_path / "runs", 1)
    arguments = [sys.executable, "-m", "mlv", "push", "runs", url, "--follow"]
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"}
    with open(tmp_path / "report", "w") as report:
        daemon = subprocess.Popen(arguments, cwd=tmp_path, stdout=report, env=environment)
    try:
        wait_until(lambda: "shipped" in (tmp_path / "report").read_text())
    finally:
        daemon.kill()
        daemon.wait()


@pytest.mark.skipif(sys.platform != "linux", reason="signals a process")
def test_following_an_empty_folder(tmp_path, url, ring):
    """A sidecar that begins before the training waits for the first experiment."""
    (tmp_path / "runs").mkdir()
    arguments = [sys.executable, "-m", "mlv", "push", "runs", url, "--follow", "--every", "0.2"]
    with open(tmp_path / "notes.txt", "wb") as notes:
        daemon = subprocess.Popen(arguments, cwd=tmp_path, stdout=subprocess.DEVNULL, stderr=notes)
    try:
        wait_until(lambda: "waiting for the first one" in (tmp_path / "notes.txt").read_text())
        mlv.Exp(tmp_path / "runs", "a", capture=(), system=False).close()
        wait_until(lambda: chains(tmp_path / "bucket/a"))
        send(daemon.pid, signal.SIGTERM)
        assert daemon.wait(30) == 0
    finally:
        daemon.kill()
        daemon.wait()


def test_how_far_a_copy_is_behind(tmp_path, url, command):
    """`mlv ls` and `mlv doctor` tell the seconds of an experiment that is shipped."""
    first = make_tree(tmp_path / "runs", 2)[0]
    command("push", first, url)
    listed = [json.loads(line) for line in command("ls", "runs", "--json").stdout.splitlines()]
    assert [row["behind_s"] for row in listed] == [0, None]
    assert "it has all lines of 1 experiment" in command("doctor", "runs").stdout
    with mlv.Exp.open(first, capture=(), system=False) as exp:
        exp.log({"loss": 1.0}, step=2)

    listed = [json.loads(line) for line in command("ls", "runs", "--json").stdout.splitlines()]
    assert listed[0]["behind_s"] > 0
    assert "behind" in command("ls", "runs").stdout
    assert "e0 is" in command("doctor", "runs").stdout


def test_a_stream_that_is_shipped_seldom(tmp_path, url, command):
    """Samples of the machine that wait for five minutes are no reason to push."""
    folder = make_tree(tmp_path / "runs", 1)[0]
    command("push", folder, url)
    before = datetime.now(timezone.utc) - timedelta(seconds=310)
    line = b'{"run":"r","seq":1,"time":"%s","type":"system","data":{}}\n' % before.strftime("%Y-%m-%dT%H:%M:%S.%fZ").encode()
    (folder / "system.log.jsonl").write_bytes(line)

    checks = json.loads(command("doctor", "runs", "--json").stdout)["checks"]

    assert [check["verdict"] for check in checks if check["part"] == "buckets"] == ["note"]


def test_a_damaged_position_is_asked_for_again(tmp_path, store):
    """Position and copy are hints: what cannot be read of them is made again."""
    folder = make_tree(tmp_path / "runs", 1)[0]
    push(tmp_path / "runs", store)
    path = positions.position_path(folder, store.url)
    good, content = json.loads(path.read_bytes()), dict(store.content)

    for name in good:
        for value in (None, 3, "x", [], {}, [1], {"log": None}, {"files/notes.txt": {}}):
            path.write_text(json.dumps({**good, name: value}))
            assert push(tmp_path / "runs", store)[0].is_well
    assert store.content == content
    shutil.rmtree(folder / ".mlv/shipped")
    (folder / ".mlv/copy").write_text("[]")
    assert push(tmp_path / "runs", store)[0].is_well
