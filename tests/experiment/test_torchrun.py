"""The same script under the real `torchrun`, on CPUs."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from importlib.util import find_spec

import pytest
from logs import of_type, read

from mlv import Exp
from mlv.store import layout

if find_spec("torch") is None:
    pytest.skip("needs torch", allow_module_level=True)

SCRIPT = """
import json, sys
import torch.distributed as dist
import mlv

exp = mlv.Exp("runs", "exp", {"lr": 0.1}, ranks=sys.argv[1], capture=())
dist.init_process_group("gloo")  # afterwards: mlv needs none
for step in range(3):
    exp.log({"loss": exp.rank}, step=step)
exp.checkpoints().save(lambda path: path.write_text("weights"), step=3) if exp.is_main else None
found = [None] * dist.get_world_size()
dist.all_gather_object(found, [exp.rank, exp.id, str(exp.path)])
exp.close()
dist.destroy_process_group()
if exp.is_main:
    print(json.dumps(found))
"""


@pytest.mark.parametrize("options", [(), ("--standalone",)], ids=["default", "standalone"])
@pytest.mark.parametrize("ranks", ["main", "all"])
def test_torchrun(tmp_path, ranks, options):
    """Four workers have one experiment, also where an older one has the name."""
    Exp(tmp_path / "runs", "exp", capture=()).close()
    script = tmp_path / "train.py"
    script.write_text(SCRIPT)
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "MLV_RANKS_TIMEOUT_S": "60"}
    command = [sys.executable, "-m", "torch.distributed.run", *options, "--nproc-per-node", "4", str(script), ranks]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=180, check=False)

    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout.splitlines()[-1])
    exp = Exp.open(tmp_path / "runs" / "exp_1")
    assert found == [[rank, exp.id, str(exp.path)] for rank in range(4)]
    streams = ["log", *(f"rank{rank}" for rank in (1, 2, 3) if ranks == "all")]
    assert sorted(layout.streams_in(exp.path)) == streams
    assert [len(of_type(read(exp.path, stream), "metrics")) for stream in streams] == [3] * len(streams)
    assert exp.latest.step == 3
