"""TensorBoard's own server shows a tree of experiments as it shows the runs that it was made for."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import threading
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

import mlv

pytest.importorskip("tensorboardX")
pytest.importorskip("tensorboard")

_SERVER = ["-m", "tensorboard.main", "--port", "0", "--host", "127.0.0.1", "--load_fast", "false", "--logdir"]
_ADDRESS = re.compile(r"http://127\.0\.0\.1:\d+/")
_WITHIN_S = 60


@contextmanager
def server(logdir: Path) -> Iterator[str]:
    """Serve a folder; gives the address."""
    environment = {**os.environ, "PYTHONWARNINGS": "ignore"}
    process = subprocess.Popen(
        [sys.executable, *_SERVER, str(logdir)], stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True, env=environment
    )
    watchdog = threading.Timer(_WITHIN_S, process.kill)
    watchdog.start()
    try:
        text = ""
        for line in process.stderr:
            text += line
            if address := _ADDRESS.search(line):
                yield address[0]
                break
        else:
            pytest.fail(f"TensorBoard said no address: {text}")
    finally:
        watchdog.cancel()
        process.kill()
        process.communicate()


def posted(address: str, path: str, **content: Any) -> Any:
    request = urllib.request.Request(
        f"{address}data/plugin/{path}", json.dumps(content).encode(), {"Content-Type": "application/json"}
    )
    with urllib.request.urlopen(request, timeout=_WITHIN_S) as answer:
        return json.load(answer)


def test_hparams_of_a_tree(command, tmp_path):
    """R4: the page for hyperparameters shows the params and metrics of all experiments of a tree, with their ranges."""
    runs = [
        ("a", {"lr": 0.1}, {"loss": 1.0}),
        ("b", {"lr": 0.1, "wd": 0.01}, {"loss": 0.9, "acc": 0.5}),
        ("c", {"lr": 0.3, "wd": 0.02, "drop": 0.5}, {"f1": 0.3}),
    ]
    for name, params, metrics in runs:
        with mlv.Exp(tmp_path / "runs", name, params, capture=()) as exp:
            exp.log(metrics, step=1)
    assert command("export", "runs", "--to", "tensorboard", "--out", "tb").returncode == 0

    with server(tmp_path / "tb") as address:
        page = posted(address, "hparams/experiment", experimentName="")
        asked = [{"hparam": one["name"]} for one in page["hparamInfos"]]
        statuses = ["STATUS_SUCCESS", "STATUS_UNKNOWN", "STATUS_FAILURE", "STATUS_RUNNING"]
        groups = posted(
            address, "hparams/session_groups", experimentName="", allowedStatuses=statuses, colParams=asked, startIndex=0,
            sliceSize=9,
        )  # fmt: skip

    intervals = {one["name"]: one.get("domainInterval", one.get("domainDiscrete")) for one in page["hparamInfos"]}
    assert {"lr", "wd", "drop"} <= set(intervals)
    assert (intervals["lr"], intervals["wd"]) == ({"minValue": 0.1, "maxValue": 0.3}, {"minValue": 0.01, "maxValue": 0.02})
    assert sorted(one["name"]["tag"] for one in page["metricInfos"]) == ["acc", "f1", "loss"]
    assert sorted(group["sessions"][0]["name"] for group in groups["sessionGroups"]) == ["a", "b", "c"]
    assert {group["sessions"][0]["status"] for group in groups["sessionGroups"]} == {"STATUS_SUCCESS"}
