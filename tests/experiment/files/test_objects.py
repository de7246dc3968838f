"""What has no better home is saved in a form that anybody can read, and comes back as it was."""

from __future__ import annotations

import json
import math
from argparse import Namespace
from datetime import date
from pathlib import Path

import pytest

from mlv import Exp
from mlv.errors import ExtraNotFound, ExtraUnusable, InvalidName, NotStorable

pytestmark = pytest.mark.usefixtures("inline")

HERE = Path(__file__).parent

PLAIN = {
    "nothing": None,
    "text": "ä",
    "numbers": [1, 2.5, True, -(2**100), 2**64],
    "bytes": b"\0\xff",
    "a mapping": {"a": {"b": [1, None]}, "_mlv": "mine"},
    "other keys": {0: "a", 1.5: "b", None: "c"},
    "tuples": ((1, 2), [3], ()),
    "a lone surrogate": "\ud800",
}


@pytest.mark.parametrize("obj", PLAIN.values(), ids=PLAIN)
def test_json(exp, obj):
    """What JSON holds is JSON, and comes back with its types."""
    path = exp.save_extra("x", obj)

    assert path == exp.path / "files" / "extra" / "x.json"
    json.loads(path.read_bytes())
    found = exp.load_extra("x")
    assert (found, type(found)) == (obj, type(obj))


def test_what_is_on_disk(exp):
    """The file is for people, too; its event vouches for it."""
    path = exp.save_extra("scores", {"acc": 0.9, "classes": ["a", "b"]}, step=3)

    assert path.read_text() == '{\n  "acc": 0.9,\n  "classes": [\n    "a",\n    "b"\n  ]\n}\n'
    [event] = exp.events("file")
    assert (event.name, event.step, event.data["path"]) == ("extra/scores.json", 3, "files/extra/scores.json")
    assert event.data["media_type"] == "application/json"


def test_not_finite(exp):
    """NaN and infinities come back."""
    exp.save_extra("x", [float("nan"), float("inf"), float("-inf")])

    nan, *rest = exp.load_extra("x")
    assert math.isnan(nan)
    assert rest == [float("inf"), float("-inf")]


def test_arrays(exp):
    """Where there are arrays it is a .npz, which numpy reads without mlv."""
    np = pytest.importorskip("numpy")
    obj = {"confusion": np.eye(2), "classes": ["a", "b"], "best": np.float32(0.5), "layers": (np.ones(3), 1)}

    path = exp.save_extra("sub/result", obj)

    assert path == exp.path / "files" / "extra" / "sub" / "result.npz"
    with np.load(path, allow_pickle=False) as file:
        assert np.array_equal(file["confusion"], np.eye(2))
    found = exp.load_extra("sub/result")
    assert np.array_equal(found["confusion"], obj["confusion"])
    assert (found["classes"], found["layers"][1], type(found["best"])) == (["a", "b"], 1, np.float32)


@pytest.mark.parametrize("obj", [{"f": len}, {1, 2}, date(2026, 1, 2), Namespace(a=1), [HERE], 1j, object()])
def test_what_has_no_such_form(exp, obj):
    """What would come back as something else is refused; converting and pickling are suggested."""
    with pytest.raises(NotStorable, match=r"cannot be saved: .* Convert that, or give save_extra\(\.\.\., pickle=True\)"):
        exp.save_extra("x", obj)

    assert not (exp.path / "files").exists()


def test_pickle(exp):
    """A pickle is made when asked for, and loaded when trusted."""
    exp.save_extra("x", {"when": date(2026, 1, 2)}, pickle=True)

    with pytest.raises(ExtraUnusable, match=r"is a pickle, .*load_extra\('x', trust=True\)"):
        exp.load_extra("x")
    assert exp.load_extra("x", trust=True) == {"when": date(2026, 1, 2)}


def test_what_cannot_be_pickled(exp):
    """What cannot be pickled leaves nothing."""
    with pytest.raises(NotStorable, match="cannot be pickled"):
        exp.save_extra("x", lambda: None, pickle=True)

    assert list((exp.path / "files" / "extra").iterdir()) == []


def test_pickled_arrays_stay_closed(exp, tmp_path):
    """An archive that would have to be unpickled is not read."""
    np = pytest.importorskip("numpy")
    np.savez(tmp_path / "a.npz", np.array([len], dtype=object))
    exp.attach(tmp_path / "a.npz", "extra/x.npz")

    with pytest.raises(ExtraUnusable, match="allow_pickle"):
        exp.load_extra("x", trust=True)


def test_the_latest_form_counts(exp):
    """An extra that was saved in several forms is the one that was saved last."""
    for obj, pickle in (([1], True), ([2], False), ([3], True), ([4], False)):
        exp.save_extra("x", obj, pickle=pickle)
        assert exp.load_extra("x", trust=True) == obj


def test_read_later(exp):
    """Extras are there for whoever opens the experiment."""
    exp.save_extra("x", {"a": 1})
    exp.close()

    assert Exp.open(exp.path).load_extra("x") == {"a": 1}


def test_missing(exp):
    """One that is not there is an error that tells which there are."""
    with pytest.raises(FileNotFoundError, match=r"there is no extra 'x' in .*; there is: none"):
        exp.load_extra("x")
    exp.save_extra("a", 1)
    exp.save_extra("a", 1, pickle=True)
    exp.save_extra("b/c", 1)

    with pytest.raises(ExtraNotFound, match="there is: a, b/c"):
        exp.load_extra("x")


@pytest.mark.parametrize("suffix", [".json", ".npz", ".pkl"])
def test_damaged(exp, suffix):
    """One that is damaged is an error that names the file."""
    pytest.importorskip("numpy")
    with exp.file(f"extra/x{suffix}", "wb") as file:
        file.write(b"{")

    with pytest.raises(ExtraUnusable, match=rf"cannot be loaded from .*x\{suffix}"):
        exp.load_extra("x", trust=True)


@pytest.mark.parametrize("name", ["", "../x", "/x", "../../meta", None])
def test_names(exp, name):
    """A name that leads out of the folder is refused, on both ways."""
    for call in (lambda: exp.save_extra(name, 1), lambda: exp.load_extra(name)):
        with pytest.raises(InvalidName):
            call()


def test_an_extra_that_is_a_link(tmp_path):
    """B5: what a symbolic link in an experiment leads to is no extra of it."""
    with Exp(tmp_path / "runs", "exp", capture=()) as exp:
        exp.save_extra("x", {"a": 1})
        path = exp.path / "files" / "extra" / "x.json"
        path.rename(tmp_path / "x.json")
        path.symlink_to(tmp_path / "x.json")

        with pytest.raises(ExtraUnusable, match="symbolic link"):
            exp.load_extra("x")
