"""Shipping beside a run, in real processes: nothing is lost when one is killed, and no outage ends anything."""

import os
import random
import signal
import subprocess
import sys
import threading
import time

import psutil
import pytest
from bucket.contents import chains, copy_of, is_whole, shipped
from bucket.memory import MemoryStore
from conftest import wait_until
from signalling import send

import mlv
from mlv.bucket import positions
from mlv.bucket.follower import ShippingFollower
from mlv.bucket.patience import Stop
from mlv.bucket.shipping import Shipping
from mlv.bucket.wish import Wish
from mlv.errors import BucketDenied, InvalidArgument, MlvWarning
from mlv.store import layout
from mlv.store.home import Home

pytest.importorskip("obstore", reason="needs the extra 'bucket'")
pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="processes are looked for in /proc")

TRAINING = """
import sys, time
import mlv

exp = mlv.Exp("runs", "digits", ship=sys.argv[1], capture=(), system=False)
print("ready", flush=True)
step = 0
while True:
    exp.log({"loss": 1 / (step + 1)}, step=step)
    step += 1
    time.sleep(0.001)
"""


@pytest.fixture
def bucket(tmp_path, monkeypatch):
    """A folder that is a bucket, to which runs are shipped every half second."""
    monkeypatch.setenv("MLV_SHIP_EVERY", "0.5")
    return tmp_path / "bucket"


def followers(folder):
    """The processes that ship experiments below a folder."""
    arguments = ((process, process.info["cmdline"] or []) for process in psutil.process_iter(["cmdline"]))
    return [process for process, words in arguments if "mlv.bucket.follower" in words and any(str(folder) in w for w in words)]


@pytest.fixture(autouse=True)
def no_follower_is_left(tmp_path):
    """Each process that ships ends by itself."""
    yield
    wait_until(lambda: not followers(tmp_path))


@pytest.fixture
def trainer(tmp_path, bucket):
    """A process that logs for ever, and has begun to."""
    script = tmp_path / "train.py"
    script.write_text(TRAINING)
    process = subprocess.Popen(
        [sys.executable, "-W", "error", script, f"file://{bucket}"], cwd=tmp_path, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout.readline() == "ready\n"
    yield process
    process.kill()
    process.wait()
    process.stdout.close()


def make(tmp_path, bucket, **options):
    return mlv.Exp(tmp_path / "runs", "digits", ship=f"file://{bucket}", capture=(), **{"system": False, **options})


def test_a_run_is_shipped_while_it_goes_on(tmp_path, bucket):
    """Lines arrive without a word of the script, and at the end all is up and marked as whole."""
    exp = make(tmp_path, bucket)
    exp.log({"loss": 0.5}, step=0)
    wait_until(lambda: b'"loss":0.5' in b"".join(chains(bucket / "digits").values()))
    with exp.file("notes.txt", "w") as file:
        file.write("well")
    exp.close()

    assert shipped(bucket / "digits", exp.path) == (exp.path / "log.jsonl").read_bytes()
    assert (bucket / "digits/files/notes.txt").read_text() == "well"
    assert (bucket / "digits/meta.json").read_bytes() == (exp.path / "meta.json").read_bytes()
    wait_until(lambda: is_whole(bucket / "digits", exp.path))


def test_flush_until_shipped(tmp_path, bucket, monkeypatch):
    """When the call returns, the bucket holds all lines so far, whatever the pause between two shipments is."""
    monkeypatch.setenv("MLV_SHIP_EVERY", "600")
    exp = make(tmp_path, bucket)
    for step in range(3):
        exp.log({"loss": step}, step=step)
        assert exp.flush(shipped=True)
        assert b'"step":%d' % step in shipped(bucket / "digits", exp.path)
    exp.close()


def test_flush_of_a_run_that_is_not_shipped(tmp_path):
    """It warns and says no, rather than wait for nothing, and the training goes on."""
    exp = mlv.Exp(tmp_path, "digits", capture=())
    with pytest.warns(MlvWarning, match="MLV_SHIP"):
        assert not exp.flush(shipped=True)
    exp.close()


def test_an_outage(tmp_path, bucket):
    """A run goes on and ends while the store is away; what waited arrives when it is back, without anybody's help."""
    bucket.write_text("a file where the folder should be")
    exp = make(tmp_path, bucket)
    exp.log({"loss": 0.5}, step=0)
    with pytest.warns(MlvWarning, match=r"of lines of .* are not in file://"):
        assert not exp.flush(1, shipped=True)
    wait_until(lambda: positions.positions_of(exp.path) and positions.positions_of(exp.path)[0].problem)
    exp._session.close("ok", timeout_s=0)
    bucket.unlink()

    wait_until(lambda: (exp.path / ".mlv/copy").exists() and is_whole(bucket / "digits", exp.path))
    assert shipped(bucket / "digits", exp.path) == (exp.path / "log.jsonl").read_bytes()


def test_the_shipper_is_killed(tmp_path, bucket):
    """Who waits for it starts it again."""
    exp = make(tmp_path, bucket)
    assert exp.flush(shipped=True)
    for process in followers(tmp_path):
        send(process.pid, signal.SIGKILL)
    exp.log({"loss": 0.5}, step=0)

    assert exp.flush(shipped=True)
    assert b'"loss":0.5' in shipped(bucket / "digits", exp.path)
    exp.close()


def test_the_trainer_is_killed(tmp_path, bucket, trainer):
    """The verdict and the seals are shipped as well."""
    wait_until(lambda: chains(bucket / "digits"))
    send(trainer.pid, signal.SIGKILL)

    folder = tmp_path / "runs/digits"
    wait_until(lambda: is_whole(bucket / "digits", folder))
    assert b'"killed"' in shipped(bucket / "digits", folder)


@pytest.mark.parametrize("seed", range(3))
def test_everything_is_killed(tmp_path, bucket, trainer, seed, process):
    """The bucket holds a beginning of the log, of whole lines; after `mlv recover` it holds all of it."""
    folder, chance = tmp_path / "runs/digits", random.Random(seed)
    wait_until(lambda: followers(tmp_path))
    time.sleep(chance.uniform(0.0, 1.5))
    for victim in [trainer.pid, *(process.pid for process in followers(tmp_path))]:
        send(victim, signal.SIGKILL)
    trainer.wait()

    before = b"".join(chains(bucket / "digits").values()) if bucket.exists() else b""
    assert before.endswith(b"\n") or not before
    wait_until(lambda: mlv.Exp.open(folder).runs[-1].ended is not None)
    assert process("recover", "runs").returncode == 0
    wait_until(lambda: (folder / ".mlv/copy").exists() and is_whole(bucket / "digits", folder))
    after = shipped(bucket / "digits", folder)
    assert after == (folder / "log.jsonl").read_bytes()
    assert after.startswith(before)


def test_a_batch_system_ends_the_job(tmp_path, bucket, trainer):
    """After SIGTERM the process ends when all lines are up: the machine may be gone a moment later."""
    wait_until(lambda: chains(bucket / "digits"))
    send(trainer.pid, signal.SIGTERM)
    for process in followers(tmp_path):
        send(process.pid, signal.SIGTERM)

    assert trainer.wait(30) == -signal.SIGTERM
    assert shipped(bucket / "digits", tmp_path / "runs/digits") == (tmp_path / "runs/digits/log.jsonl").read_bytes()


def test_runs_one_after_the_other(tmp_path, bucket):
    """Another run ships its own lines alone, also behind a rewind."""
    exp = make(tmp_path, bucket)
    for step in range(5):
        exp.log({"loss": step}, step=step)
    exp.close()
    first = shipped(bucket / "digits", exp.path)
    keys = set(bucket.rglob("*.gz"))
    with mlv.Exp.open(exp.path, rewind_to=2, ship=f"file://{bucket}", capture=(), system=False) as again:
        again.log({"loss": 0.0}, step=3)

    assert shipped(bucket / "digits", exp.path) == (exp.path / "log.jsonl").read_bytes()
    assert shipped(bucket / "digits", exp.path).startswith(first)
    assert {key.parent.name for key in set(bucket.rglob("*.gz")) | keys} == {copy_of(exp.path)}


def test_a_run_that_is_over_does_not_wait_for_the_next_one(tmp_path):
    """Its process ends while another run logs on: else that one would be shipped without any pause."""
    with mlv.Exp(tmp_path, "digits", capture=(), system=False) as exp:
        exp.log({"loss": 0.5}, step=0)
    log = exp.path / "log.jsonl"
    line = log.read_bytes().splitlines(keepends=True)[-1]

    def append(call, key):
        if call == "create":
            with open(log, "ab") as file:
                file.write(line)

    store = MemoryStore(append)
    home, wish = Home(exp.path, layout.exp_id(exp.path)), Wish(store.url, "digits", 10.0)
    follower = threading.Thread(target=ShippingFollower(home, wish, lambda: store, lambda: True).follow, daemon=True)
    follower.start()
    follower.join(30)

    assert not follower.is_alive()


def _signalled_at_each_line(task, handler):
    """Call a task in a thread as if a signal came at each line of the library that it waits by; return whether it ends."""

    def trace(frame, event, argument):
        if frame.f_code.co_filename != threading.__file__:
            return trace if event == "call" else None
        if event == "line":
            handler()
        return trace

    def run():
        sys.settrace(trace)
        task()

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    thread.join(30)
    return not thread.is_alive()


def test_a_signal_at_any_moment(tmp_path):
    """One that comes while the process begins or ceases to wait does not stop it for ever."""
    with mlv.Exp(tmp_path, "digits", capture=(), system=False) as exp:
        exp.log({"loss": 0.5}, step=0)
    home, wish, store = Home(exp.path, layout.exp_id(exp.path)), Wish("memory://bucket", "digits", 10.0), MemoryStore()
    follower = ShippingFollower(home, wish, lambda: store, lambda: True)
    stop = Stop()

    assert _signalled_at_each_line(follower.follow, follower.wake)
    assert _signalled_at_each_line(lambda: stop.wait(0.01), stop.set)


def test_waiting_for_what_another_process_ships(tmp_path, bucket):
    """A child that waits in vain says what ships the lines, as its parent does."""
    with mlv.Exp(tmp_path, "digits", capture=(), system=False) as exp:
        exp.log({"loss": 0.5}, step=0)

    with pytest.warns(MlvWarning, match=f"or by `mlv push {exp.path} file://"):
        assert not Shipping(exp.path, layout.exp_id(exp.path), f"file://{bucket}").wait(0.1)


def test_a_system_that_starts_no_process(tmp_path, bucket, monkeypatch):
    """One warning says what ships the run afterwards, and its end waits for nobody."""
    monkeypatch.setattr(sys, "executable", "")
    with pytest.warns(MlvWarning, match="is not shipped: this system cannot start a process.*mlv push") as warnings:
        make(tmp_path, bucket).close()

    assert len(warnings) == 1


@pytest.mark.parametrize("kind", [BucketDenied, OSError])
def test_an_experiment_that_is_refused(tmp_path, kind):
    """Those beside it below the same parent are shipped all the same."""
    with mlv.Exp(tmp_path, "digits", capture=(), system=False) as exp:
        checkpoints = exp.checkpoints(latest=2)
        for name in ("first", "second"):
            with mlv.init_sub_exp(checkpoints.save({"w": 1}, step=1), name) as sub:
                sub.log({"loss": 0.5}, step=0)

    is_allowed, ends = threading.Event(), threading.Event()

    def refuse(call, key):
        if "first" in key and call == "create" and not is_allowed.is_set():
            raise kind("no right to write")

    store = MemoryStore(refuse)
    home, wish = Home(exp.path, layout.exp_id(exp.path)), Wish(store.url, "digits", 0.1)
    follower = ShippingFollower(home, wish, lambda: store, ends.is_set)
    thread = threading.Thread(target=follower.follow, daemon=True)
    thread.start()

    wait_until(lambda: any("second/subexp_1/log.d/" in key for key in list(store.content)))
    wait_until(lambda: positions.read(exp.path, store.url).problem == "no right to write")
    is_allowed.set()
    ends.set()
    thread.join(30)

    assert not thread.is_alive()


def test_a_file_that_is_refused_for_good(tmp_path):
    """After the run it is tried a few times more and named, all else is shipped, and the process ends; a later one ships it."""
    with mlv.Exp(tmp_path, "digits", capture=(), system=False) as exp:
        for name in ("first", "second", "third"):
            with exp.file(f"{name}.txt", "w") as file:
                file.write(name)

    def refuse(call, key):
        if call == "create" and not is_allowed.is_set() and key.endswith(("first.txt", "second.txt")):
            raise BucketDenied(f"no right to write {key}")

    is_allowed, store = threading.Event(), MemoryStore(refuse)
    home, wish = Home(exp.path, layout.exp_id(exp.path)), Wish(store.url, "digits", 0.1)

    assert ShippingFollower(home, wish, lambda: store, lambda: True).follow()

    assert store.content["digits/files/third.txt"] == b"third"
    assert any(key.endswith(f"-{(exp.path / 'log.jsonl').stat().st_size:012d}.jsonl.gz") for key in store.content)
    assert not any("/whole/" in key for key in store.content)
    problem = positions.read(exp.path, store.url).problem
    assert problem.startswith("no right to write digits/files/")
    assert problem.endswith("; and 1 more file")

    is_allowed.set()
    assert ShippingFollower(home, wish, lambda: store, lambda: True).follow()
    assert store.content["digits/files/first.txt"] == b"first"
    assert any("/whole/" in key for key in store.content)


@pytest.mark.parametrize("fault", ["denied", "large"])
def test_the_end_of_a_run_with_a_refused_file(tmp_path, far, monkeypatch, fault):
    """It does not wait for what is refused for good: the warning names the file, and nobody goes on to ship."""
    monkeypatch.setenv("MLV_SHIP_EVERY", "0.5")
    url = far.bucket().url
    far.set(fault=fault, kinds=["PUT"], keys="files/notes.txt")
    exp = mlv.Exp(tmp_path, "digits", ship=url, capture=(), system=False)
    with exp.file("notes.txt", "w") as file:
        file.write("x")

    with pytest.warns(MlvWarning, match=r"1 file of .*digits/files/notes\.txt.*`mlv push .* ships them when that is mended"):
        exp.close()


def test_sub_experiments(tmp_path, bucket):
    """They are shipped below their parent, by the wish of the parent's run."""
    exp = make(tmp_path, bucket)
    checkpoint = exp.checkpoints().save({"w": 1}, step=1)
    sub = mlv.init_sub_exp(checkpoint, "squeeze")
    sub.log({"loss": 0.1}, step=0)
    sub.close()
    exp.close()

    below = bucket / "digits/squeeze/subexp_1"
    wait_until(lambda: is_whole(below, sub.path) and is_whole(bucket / "digits", exp.path))
    assert shipped(below, sub.path) == (sub.path / "log.jsonl").read_bytes()
    assert [path.name for path in (bucket / "digits/models").rglob("*") if path.is_file()]


def test_children_and_streams(tmp_path, bucket):
    """All streams of a folder are shipped, whichever process writes them."""
    exp = make(tmp_path, bucket)
    exp.logger("val").metric("acc", 0.9, step=1)
    child = os.fork()
    if not child:
        exp.log({"child": 1.0}, step=1)
        os._exit(0 if exp.flush(shipped=True) else 1)
    assert os.waitpid(child, 0)[1] == 0
    exp.close()

    wait_until(lambda: is_whole(bucket / "digits", exp.path))
    assert b'"child"' in shipped(bucket / "digits", exp.path)
    assert shipped(bucket / "digits", exp.path, "val") == (exp.path / "val.log.jsonl").read_bytes()


def test_an_experiment_that_is_moved(tmp_path, bucket):
    """Its lines go on to where they went."""
    exp = make(tmp_path, bucket)
    assert exp.flush(shipped=True)
    moved = exp.path.rename(tmp_path / "elsewhere")
    exp.log({"loss": 0.5}, step=0)
    wait_until(lambda: b'"loss":0.5' in shipped(bucket / "digits", moved))
    exp.close()

    wait_until(lambda: is_whole(bucket / "digits", moved))


def test_the_setting(tmp_path, bucket, monkeypatch):
    """`MLV_SHIP` ships what a script says nothing about; `ship=False` does not."""
    monkeypatch.setenv("MLV_SHIP", f"file://{bucket}")
    monkeypatch.setenv("MLV_DIR", str(tmp_path / "runs"))
    with mlv.Exp(tmp_path / "runs/project", "a", capture=(), system=False) as exp:
        exp.log({"loss": 1})
    with mlv.Exp(tmp_path / "runs", "b", capture=(), system=False, ship=False) as other:
        other.log({"loss": 1})

    assert shipped(bucket / "project/a", exp.path) == (exp.path / "log.jsonl").read_bytes()
    assert not (bucket / "b").exists()


@pytest.mark.parametrize(
    ("url", "text"), [("runs", "none of s3://"), ("s3://key:secret@lab/runs", "holds a user or password"), (3, "give the URL")]
)
def test_what_is_no_bucket(tmp_path, url, text):
    """It is an error before anything is made."""
    with pytest.raises(InvalidArgument, match=text):
        mlv.Exp(tmp_path, "digits", ship=url)
    assert list(tmp_path.iterdir()) == []


def test_a_path_that_is_taken(tmp_path, bucket):
    """Another experiment stays in the bucket as it is, a warning says so, and the process that ships ends."""
    (bucket / "digits").mkdir(parents=True)
    (bucket / "digits/meta.json").write_text("{}")
    exp = make(tmp_path, bucket)
    exp.log({"loss": 1})
    with pytest.warns(MlvWarning, match="another experiment at"):
        assert not exp.flush(2, shipped=True)
    exp._session.close("ok", timeout_s=0)

    assert (bucket / "digits/meta.json").read_text() == "{}"
    assert layout.exp_id(exp.path)
