"""Ring with writer, and the inline twin, keep the same contract."""

from __future__ import annotations

import pytest
from contracts.channel import RUN, ChannelContract

from mlv.transport import channels
from mlv.transport.inline import Inline
from mlv.transport.ring import Ring


class TestRing(ChannelContract):
    """The ring, drained by a writer process."""

    @pytest.fixture
    def open_channel(self):
        def open_(folder, run=RUN):
            channel = channels.open_channel(folder, "id", run, None)
            assert isinstance(channel, Ring)
            return channel

        return open_


class TestInline(ChannelContract):
    """The twin that appends in the caller's own process."""

    signals_every_s = 0.005

    @pytest.fixture
    def open_channel(self):
        return lambda folder, run=RUN: Inline(folder, run)
