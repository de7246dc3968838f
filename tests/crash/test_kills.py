"""SIGKILL of the training process, of its writer, and of both, at random moments while events flow into two streams."""

from __future__ import annotations

import pytest

from crash.victims import finish, kill, moment, scaled, trials

pytestmark = [pytest.mark.crash, pytest.mark.timeout(scaled(300, soak=1800))]

TRIALS = scaled(36, soak=500)


def test_the_training_process_is_killed(tmp_path):
    """What its calls had logged is all there, the run is said to be killed, and its seals prove it."""

    def trial(victim, chance):
        moment(chance)
        victim.kill()
        victim.process.wait()
        finish(victim.exp, chance)
        victim.assert_nothing_lost("killed")

    trials(tmp_path, TRIALS, trial)


def test_the_writer_is_killed(tmp_path):
    """The training process notices nothing; another writer goes on where the killed one stopped."""

    def trial(victim, chance):
        for _ in range(chance.choice([1, 1, 1, 2])):
            moment(chance)
            kill(victim.writer())
        moment(chance)
        assert victim.stop() == 0
        victim.assert_nothing_lost("ok")

    trials(tmp_path, TRIALS, trial)


def test_both_are_killed(tmp_path):
    """With the writer and the training process gone at once, what waits in the ring is brought in by whoever comes."""

    def trial(victim, chance):
        moment(chance)
        writer = victim.writer()
        for stop in chance.sample([victim.kill, lambda: kill(writer)], 2):
            stop()
        victim.process.wait()
        finish(victim.exp, chance)
        victim.assert_nothing_lost("killed")

    trials(tmp_path, TRIALS, trial)
