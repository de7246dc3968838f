"""Every job that a writer takes leaves its line and its file once, whatever fails and whoever is killed."""

from __future__ import annotations

import array
import errno
import itertools
import os
import random
import signal
import subprocess
import time
from functools import partial

import pytest
from contracts.evidence import arrays, assert_complete, events, files, payloads
from crash.victims import SEED, scaled
from store.faults import Faulty, failing

from mlv.encoding import TAIL, dumps, head
from mlv.media import array as arrays_of
from mlv.media.jobs import Job
from mlv.transport import recovery, writer
from mlv.transport import worker as workers
from mlv.transport.backlog import Backlog
from mlv.transport.source import Source
from mlv.transport.spool import Queued
from mlv.transport.worker import Worker, complete
from mlv.transport.writer import Endurance
from transport.rig import GONE, LOG, VAL, Rig

ENDED, KILLED = "rended1234", "rkilled123"


class JobRig(Rig):
    """A rig whose writers complete jobs themselves: they are killed together with what they do."""

    def serve_here(self, files=None, until_s=20.0, complete=None):
        backlog = Backlog(self.folder, complete=complete or partial(workers.complete, self.folder))
        return super().serve_here(files, until_s, backlog=backlog)

    def log(self, channel, count, big=()):
        """Log so many events, each third of which is a job, into both streams."""
        for i in range(count):
            stream = (VAL, LOG)[i % 2]
            if i % 3 == 1:
                channel.hand_over(stream, a_job(i).pack())
            else:
                channel.put(LOG, 0, 0, b'"type":"event","data":{"i":%d}}' % i)
            self.logged[channel.run].append(i)

    def assert_all_there(self, statuses):
        """Every event is there once, with its file, and is itself; verdicts and seals are right, and nothing waits."""
        found = events(self.folder)
        for run, logged in self.logged.items():
            steps = [event["step"] for event in found if event["run"] == run and event["type"] == "array"]
            assert sorted([*payloads(self.folder, run), *steps]) == logged, f"{run}: {steps}"
        arrays(self.folder, None)
        assert not [event for event in found if event["type"] in ("dropped", "rejected")]
        assert_complete(self.folder)
        ended = {event["data"].get("of", event["run"]): event["data"]["status"] for event in found if is_end(event)}
        assert ended == statuses
        assert len(ended) == len([event for event in found if is_end(event)])
        for place in self.candidates:
            assert not place.exists(), list(place.iterdir())


def is_end(event):
    return event["type"] == "run_ended"


def a_job(step, name="maps"):
    prepared = arrays_of.prepare(array.array("d", [step] * 10))
    return Job(prepared.type, name, prepared.do, prepared.options, step=step, buffers=prepared.buffers)


def two_runs(folder):
    """Jobs and other events of two runs: one that ended, and one whose process died."""
    rig = JobRig(folder)
    ended, killed = rig.ring(ENDED), rig.ring(KILLED, GONE)
    rig.log(ended, 6)
    rig.log(killed, 4)
    rig.end(ended)
    return rig


STATUSES = {ENDED: "ok", KILLED: "killed"}


def killer(at):
    def fault(call, name):
        if call == at:
            os.kill(os.getpid(), signal.SIGKILL)

    return fault


# Killed.


def test_killed_at_every_system_call(tmp_path):
    """A writer that is killed before any of its calls costs and doubles no job."""
    for at in itertools.count():
        rig = two_runs(tmp_path / str(at))

        status = rig.serve(Faulty(killer(at)))
        if status == -signal.SIGKILL:
            assert rig.serve() == 0

        rig.assert_all_there(STATUSES)
        if status == 0:
            assert at > 10
            break


def test_killed_at_many_moments(tmp_path):
    """A writer that is killed anywhere in its code costs and doubles no job, nor do several that are."""
    print(f"MLV_CRASH_SEED={SEED}")
    chance = random.Random(SEED)
    for trial in range(scaled(25, soak=200)):
        rig = two_runs(tmp_path / str(trial))
        for _ in range(chance.choice([1, 1, 2, 3])):
            rig.serve_until_moment(chance.randrange(5000))
        if rig.place.exists():
            rig.serve()

        rig.assert_all_there(STATUSES)


def test_killed_before_it_says_how_far_it_is(tmp_path, monkeypatch):
    """What a writer brought in, and died before it said so, is said by the next one: nobody waits for it for ever."""
    rig = JobRig(tmp_path / "exp")
    channel = rig.ring(ENDED)
    rig.log(channel, 1)
    with monkeypatch.context() as patched:
        patched.setattr(Source, "publish_complete", lambda self: os.kill(os.getpid(), signal.SIGKILL))
        assert rig.serve() == -signal.SIGKILL

    rig.in_child(lambda: rig.serve_here(until_s=0.5))

    assert channel.drain(0)


# Refused.


def test_a_disk_that_refuses_the_next_writer(tmp_path):
    """A writer that cannot open the streams which a dead one left does not take a run for done whose jobs it does not know."""
    for at in itertools.count():
        rig = two_runs(tmp_path / str(at))
        rig.endurance = Endurance(retry_after_s=0.001)
        if rig.serve(Faulty(killer(at))) == 0:
            break

        assert rig.serve(Faulty(failing(0, errno.EIO, times=2))) == 0

        rig.assert_all_there(STATUSES)


def test_events_behind_a_job_that_are_refused(tmp_path):
    """A job is not done before the ring has let go of it: else the ring would bring it once more, and find it gone."""
    rig = JobRig(tmp_path / "exp")
    channel = rig.ring(ENDED)
    (rig.folder / "val.log.jsonl").mkdir()
    channel.hand_over(LOG, a_job(0).pack())
    channel.put(VAL, 1, 0, b'{"i":1}')
    rig.logged[ENDED] = [0, 1]
    rig.end(channel)

    for _ in range(2):  # the second one goes on with the first one's job
        assert not rig.serve_here(until_s=0.4)
    (rig.folder / "val.log.jsonl").rmdir()

    assert rig.serve() == 0
    rig.assert_all_there({ENDED: "ok"})


def test_a_folder_that_was_moved(tmp_path):
    """Jobs wait for an experiment that is not where it was; they are done when it is there again."""
    rig = two_runs(tmp_path / "exp")
    rig.endurance = Endurance(linger_without_folder_s=0.1)

    def move_away(queued):
        if rig.folder.exists():
            rig.folder.rename(tmp_path / "elsewhere")
        return complete(rig.folder, queued)

    rig.in_child(lambda: rig.serve_here(until_s=10, complete=move_away))
    (tmp_path / "elsewhere").rename(rig.folder)

    assert rig.serve() == 0
    rig.assert_all_there(STATUSES)


def test_a_job_that_is_refused_for_ever(tmp_path):
    """A writer whose workers can write no file goes away some time after its producers, and leaves the jobs."""
    rig = two_runs(tmp_path / "exp")
    rig.endurance = Endurance(linger_s=2.0, linger_without_folder_s=0.1)
    (rig.folder / "files").write_text("in the way")

    assert not Rig.serve_here(rig, until_s=30)
    (rig.folder / "files").unlink()

    assert rig.serve() == 0
    rig.assert_all_there(STATUSES)


def test_a_job_that_cannot_be_read(tmp_path, monkeypatch):
    """A spool file that the system cannot open at the moment is read later."""
    rig = two_runs(tmp_path / "exp")
    limit = iter(range(3))
    read_job = workers.read_job

    def sometimes(path):
        if next(limit, None) is not None:
            raise OSError(errno.EMFILE, "too many open files")
        return read_job(path)

    monkeypatch.setattr(workers, "read_job", sometimes)

    assert rig.serve_here()
    rig.assert_all_there(STATUSES)


# Interrupted.


def test_recovery_that_is_interrupted(tmp_path):
    """Ctrl-C while jobs are done in the user's process leaves them, and the streams, to whoever comes, also to this process."""
    rig = two_runs(tmp_path / "exp")

    def interrupt(queued):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        rig.serve_here(complete=interrupt)

    assert rig.serve_here(until_s=5)
    rig.assert_all_there(STATUSES)
    assert [path.name for path in files(rig.folder)] == ["log.jsonl", "val.log.jsonl"]


def test_recovery_that_runs_out_of_time(tmp_path, monkeypatch):
    """What is not done in time is no reason for a verdict: there is one, and it comes last."""
    rig = JobRig(tmp_path / "exp")
    channel = rig.ring(KILLED, GONE)
    channel.put(LOG, TAIL, 0, head("run_started", "") + b'"data":%s}' % dumps({"exp": "", "process": GONE.to_data()}))
    rig.log(channel, 15)
    with monkeypatch.context() as patched:
        patched.setattr(writer, "complete", lambda folder, queued: time.sleep(0.2) or complete(folder, queued))
        assert not recovery.recover(rig.folder, timeout_s=0.1)

    assert recovery.recover(rig.folder)

    rig.assert_all_there({KILLED: "killed"})


# Workers.


def test_a_worker_that_starts_late(tmp_path, monkeypatch):
    """Where no process can be started for a while, every answer is still that of its job."""
    (tmp_path / "exp").mkdir()
    popen, limit = subprocess.Popen, iter(range(1))

    def sometimes(*arguments, **options):
        if next(limit, None) is not None:
            raise OSError(errno.EAGAIN, "no more processes")
        return popen(*arguments, **options)

    monkeypatch.setattr(subprocess, "Popen", sometimes)
    worker = Worker(tmp_path / "exp")
    jobs = [Queued("rjobs12345", seq, 0, 0, tmp_path / f"{seq}.job") for seq in (1, 2, 3)]
    for job in jobs:
        job.path.write_bytes(b"".join(a_job(job.seq).pack()))
        worker.give(job)

    found = []
    deadline = time.monotonic() + 20
    while len(found) < len(jobs) and time.monotonic() < deadline:
        found += worker.answers()
    worker.close()

    assert [answer.job for answer in found] == jobs
    assert all(b'"step":%d,' % answer.job.seq in answer.payload for answer in found)
