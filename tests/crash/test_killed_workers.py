"""SIGKILL of training process, writer and worker while arrays and metrics flow together."""

from __future__ import annotations

import pytest

from crash.victims import finish, kill, moment, scaled, trials, worker_of

pytestmark = [pytest.mark.crash, pytest.mark.timeout(scaled(300, soak=1800))]

TRIALS = scaled(14, soak=200)
MEDIA = 0.01


def test_training_process_and_writer_are_killed(tmp_path):
    """Every array whose call had returned has its line once, and its file; whoever comes completes what waits."""

    def trial(victim, chance):
        moment(chance)
        writer = victim.writer()
        for stop in chance.sample([victim.kill, lambda: kill(writer)], chance.choice([1, 2])):
            stop()
        victim.kill()
        victim.process.wait()
        finish(victim.exp, chance)
        victim.assert_nothing_lost("killed")

    trials(tmp_path, TRIALS, trial, MEDIA)


def test_writer_is_killed_and_training_goes_on(tmp_path):
    """Another writer goes on with the jobs that the killed one had taken."""

    def trial(victim, chance):
        for _ in range(chance.choice([1, 2, 3])):
            moment(chance)
            kill(victim.writer())
        moment(chance)
        assert victim.stop() == 0
        victim.assert_nothing_lost("ok")

    trials(tmp_path, TRIALS, trial, MEDIA)


def test_worker_is_killed(tmp_path):
    """A worker that was killed costs nothing: another one does the job again, and no half file is left."""

    def trial(victim, chance):
        for _ in range(chance.choice([1, 2])):
            moment(chance)
            kill(worker_of(victim.exp))
        assert victim.stop() == 0
        victim.assert_nothing_lost("ok")

    trials(tmp_path, TRIALS, trial, MEDIA)
