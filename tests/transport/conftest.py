"""What tests of the transport share: a process in which a writer has been at work."""

from __future__ import annotations

import pytest

from transport.rig import Rig


@pytest.fixture(scope="session", autouse=True)
def warm(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Serve once in this process: what is imported and compiled for that, which takes 0.3 s, every forked writer inherits."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MLV_SPOOL", str(tmp_path_factory.mktemp("spool")))
        rig = Rig(tmp_path_factory.mktemp("warm") / "exp")
        channel = rig.ring("rwarm12345")
        rig.log(channel, 2, big=(1,))
        rig.end(channel)
        assert rig.serve_here()
