"""Params of every kind become one immutable JSON object with an identity."""

from __future__ import annotations

import copy
import dataclasses
import enum
import functools
import ipaddress
import json
import math
import os
import pickle
import re
import subprocess
import sys
from argparse import Namespace
from collections import UserDict, namedtuple
from datetime import datetime, timezone
from pathlib import Path
from types import MappingProxyType, SimpleNamespace
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from mlv import Exp, InvalidArgument, InvalidParams, MlvWarning, ParamsConflict, RedactedWarning, UnknownParam
from mlv.frozen import FrozenDict, FrozenList, frozen, thawed

# What a writer process adds is tested elsewhere.
pytestmark = pytest.mark.usefixtures("inline")

PLAIN = {"lr": 0.1, "optimizer": {"name": "adam", "betas": [0.9, 0.999]}}


@dataclasses.dataclass
class Optimizer:
    name: str
    betas: tuple[float, float]


@dataclasses.dataclass
class Settings:
    lr: float
    optimizer: Any


Named = namedtuple("Named", "lr optimizer")


class Mode(enum.Enum):
    FAST = "fast"


OPTIMIZER = Optimizer("adam", (0.9, 0.999))


def made(tmp_path: Path, params: Any, **options: Any) -> Exp:
    return Exp(tmp_path, "exp", params, capture=(), **options)


class TestKinds:
    @pytest.mark.parametrize(
        "params",
        [
            PLAIN,
            MappingProxyType(PLAIN),
            UserDict(PLAIN),
            Namespace(lr=0.1, optimizer=Namespace(name="adam", betas=(0.9, 0.999))),
            Settings(0.1, OPTIMIZER),
            Named(0.1, OPTIMIZER),
            {"lr": 0.1, "optimizer": OPTIMIZER},
        ],
        ids=lambda params: type(params).__name__,
    )
    def test_mapping_like(self, tmp_path, params):
        """Params come as a mapping or an object with fields; they read the same."""
        with made(tmp_path, params) as exp:
            assert exp.params == PLAIN
            assert json.loads((exp.path / "meta.json").read_bytes())["params"] == PLAIN

    def test_attrs(self, tmp_path):
        """Params may be an object of attrs."""
        attrs = pytest.importorskip("attrs")
        kind = attrs.make_class("Kind", ["lr", "optimizer"])

        assert made(tmp_path, kind(0.1, OPTIMIZER)).params == PLAIN

    def test_pydantic(self, tmp_path):
        """Params may be a pydantic model."""
        pydantic = pytest.importorskip("pydantic")
        inner = pydantic.create_model("Inner", name=(str, "adam"), betas=(tuple[float, float], (0.9, 0.999)))
        kind = pydantic.create_model("Kind", lr=(float, 0.1), optimizer=(inner, inner()))

        assert made(tmp_path, kind()).params == PLAIN

    def test_pydantic_dataclass(self, tmp_path):
        """Params may be a dataclass of pydantic."""
        dataclass = pytest.importorskip("pydantic.dataclasses").dataclass
        kind = dataclass(type("Kind", (), {"__annotations__": {"lr": float, "optimizer": dict[str, Any]}}))

        assert made(tmp_path, kind(lr=0.1, optimizer=PLAIN["optimizer"])).params == PLAIN

    def test_omegaconf(self, tmp_path):
        """Params may be an OmegaConf object; interpolations are resolved."""
        omegaconf = pytest.importorskip("omegaconf")
        conf = omegaconf.OmegaConf.create({**PLAIN, "lr": "${base}", "base": 0.1})

        assert made(tmp_path, conf).params == {**PLAIN, "base": 0.1}

    def test_none(self, tmp_path):
        """An experiment may have no params."""
        assert made(tmp_path, None).params == {}

    def test_values(self, tmp_path):
        """Values have the form that they have in events, and read the same here and in another process."""
        params = {
            "nan": math.nan, "inf": [math.inf], "big": 2**70, "path": Path("a"), "mode": Mode.FAST, "bytes": b"\xff",
            "when": datetime(2026, 1, 1, tzinfo=timezone.utc), "_mlv": {"_mlv": "int"}, "odd": "\ud800", 3: "three",
            "none": None,
        }  # fmt: skip
        with made(tmp_path, params) as exp:
            here = thawed(exp.params)
        there = thawed(Exp.open(exp.path).params)

        for found in (here, there):
            assert math.isnan(found.pop("nan"))
            assert found == {
                "inf": [math.inf], "big": 2**70, "path": "a", "mode": "fast", "bytes": b"\xff", "none": None, "3": "three",
                "when": "2026-01-01T00:00:00.000000Z", "_mlv": {"_mlv": "int"}, "odd": "\ud800",
            }  # fmt: skip

    def test_numpy(self, tmp_path):
        """Numpy scalars and arrays are numbers and lists."""
        np = pytest.importorskip("numpy")

        assert made(tmp_path, {"a": np.float32(0.5), "b": np.arange(2)}).params == {"a": 0.5, "b": [0, 1]}


class TestBadParams:
    @pytest.mark.parametrize(
        "params", [3, "text", [1], [("a", 1)], {1, 2}, object(), Settings, len, b"x"], ids=lambda params: type(params).__name__
    )
    def test_not_mapping_like(self, tmp_path, params):
        """What is no mapping is refused, with what would be one; nothing is made on the disk."""
        with pytest.raises(InvalidParams, match=r"params are .*: pass"):
            made(tmp_path, params)

        assert list(tmp_path.iterdir()) == []

    @pytest.mark.parametrize(
        ("params", "path"),
        [
            ({"optimizer": {"fn": len}}, "params.optimizer.fn"),
            ({"layers": [1, {"init": object()}]}, "params.layers[1].init"),
            (Settings(0.1, Optimizer(len, ())), "params.optimizer.name"),
            (Namespace(a=Namespace(b=int)), "params.a.b"),
            ({"a": {1: 1, "1": 2}}, "params.a.1"),
            ({1: 1, "1": 2}, "params.1"),
            ({"gen": (item for item in "ab")}, "params.gen"),
        ],
    )
    def test_named_by_their_path(self, tmp_path, params, path):
        """W14: with `strict=True` a value without a JSON form is refused, and named by its path."""
        with pytest.raises(InvalidParams, match="or leave it out") as caught:
            made(tmp_path, params, strict=True)

        assert str(caught.value).startswith(path + " ")
        assert caught.value.path == path
        assert list(tmp_path.iterdir()) == []

    def test_several(self, tmp_path):
        """More than one problem is counted, and all are in the error."""
        with pytest.raises(InvalidParams, match=r"params\.a .* \(and 2 more\)") as caught:
            made(tmp_path, {"a": len, "b": len, "c": len}, strict=True)

        assert [path for path, _ in caught.value.problems] == ["a", "b", "c"]

    def test_what_contains_itself(self, tmp_path):
        """Params that contain themselves are refused with `strict=True`, also right at the top; else they end in a text."""
        params: dict[str, Any] = {}
        params["self"] = params

        with pytest.raises(InvalidParams, match=r"params\.self contains itself"):
            made(tmp_path, params, strict=True)
        with pytest.warns(MlvWarning, match=r"params\.self contains itself"):
            assert made(tmp_path, params).params == {"self": "{'self': {...}}"}

    def test_what_cannot_be_read(self, tmp_path):
        """Params whose own code raises are refused with what it raised."""

        @dataclasses.dataclass
        class Lazy:
            a: int = 1

            def __getattribute__(self, name: str) -> Any:
                if name == "a":
                    raise RuntimeError("not yet")
                return super().__getattribute__(name)

        with pytest.raises(InvalidParams, match="not yet"):
            made(tmp_path, Lazy())

    def test_missing_in_omegaconf(self, tmp_path):
        """A value that OmegaConf misses is named by its path."""
        omegaconf = pytest.importorskip("omegaconf")

        with pytest.raises(InvalidParams, match=r"params\.model\.depth .*Missing"):
            made(tmp_path, omegaconf.OmegaConf.create({"model": {"depth": "???"}}), strict=True)


def train(lr: float) -> None:
    """A function that configurations name."""


class TestTexts:
    """W14: values without a JSON form never keep an experiment from starting: they are texts, and one warning names them."""

    @pytest.mark.parametrize(
        ("value", "text"),
        [
            (len, "len"),
            (math.sin, "math.sin"),
            (Settings, f"{__name__}.Settings"),
            (train, f"{__name__}.train"),
            (functools.partial(train, 1, lr=Settings), f"functools.partial({__name__}.train, 1, lr={__name__}.Settings)"),
            (json, "json"),
            (slice(0, 10, None), "slice(0, 10, None)"),
            (ZoneInfo("UTC"), "UTC"),
            (timezone.utc, "UTC"),
            (1 + 2j, "(1+2j)"),
            (ipaddress.ip_address("127.0.0.1"), "127.0.0.1"),
            (re.compile("a+"), "a+"),
            (re.compile("a+", re.IGNORECASE | re.MULTILINE), "(?im)a+"),
            (object(), "<object object>"),
            (print, "print"),
            ([].append, "list.append"),
            (Mode, f"{__name__}.Mode"),
        ],
        ids=lambda value: type(value).__name__,
    )
    def test_a_text(self, tmp_path, value, text):
        """The text names the value, and is the same in every run."""
        with pytest.warns(MlvWarning, match=r"stored as text .*params\.in\.it is of type"):
            exp = made(tmp_path, {"in": {"it": value}, "lr": 0.1})

        assert exp.params == {"in": {"it": text}, "lr": 0.1}

    def test_one_warning(self, tmp_path):
        """One warning names all of them, with the reason of each."""
        with pytest.warns(MlvWarning) as caught:
            made(tmp_path, Namespace(func=train, layers=[1, object()], lr=0.1))

        [text] = [str(one.message) for one in caught]
        assert "params.func is of type function" in text
        assert "params.layers[1] is of type object" in text
        assert "lr" not in text

    def test_no_addresses(self, tmp_path):
        """Objects without a `repr` of their own are equal in the next run."""

        class Model:
            pass

        with pytest.warns(MlvWarning):
            one, other = (made(tmp_path, {"model": Model(), "fn": lambda: 0, "set": {Model}}) for _ in range(2))

        assert one.params_id == other.params_id
        assert "0x" not in repr(one.params)

    def test_numpy(self, tmp_path):
        """A type of numbers is known by its name."""
        np = pytest.importorskip("numpy")

        with pytest.warns(MlvWarning):
            assert made(tmp_path, {"a": np.dtype("float32"), "b": np.float32}).params == {"a": "float32", "b": "numpy.float32"}

    def test_torch(self, tmp_path):
        """So are devices and types of torch."""
        torch = pytest.importorskip("torch")

        with pytest.warns(MlvWarning):
            exp = made(tmp_path, {"on": torch.device("cpu"), "as": torch.bfloat16})
        assert exp.params == {"on": "cpu", "as": "torch.bfloat16"}

    def test_pydantic(self, tmp_path):
        """A URL is its text, and a secret never reaches the disk."""
        pydantic = pytest.importorskip("pydantic")
        kind = pydantic.create_model(
            "Kind", url=(pydantic.HttpUrl, ...), word=(pydantic.SecretStr, ...), raw=(pydantic.SecretBytes, ...)
        )

        with pytest.warns(MlvWarning):
            exp = made(tmp_path, {"in": kind(url="http://example.org/a", word="hunter2", raw=b"hunter2")})

        assert exp.params["in"]["url"] == "http://example.org/a"
        assert exp.params["in"]["word"] == exp.params["in"]["raw"] == "**********"
        exp.close()
        assert not any(b"hunter2" in path.read_bytes() for path in exp.path.rglob("*") if path.is_file())

    def test_omegaconf(self, tmp_path):
        """What OmegaConf misses, or cannot resolve, stands as it was written; the others have their values."""
        omegaconf = pytest.importorskip("omegaconf")
        config = {"depth": "???", "width": "${nowhere}", "lr": "${base}", "base": 1, "list": [1, "???"]}

        with pytest.warns(MlvWarning, match=r"params\.m\.depth raised Missing"):
            exp = made(tmp_path, {"m": omegaconf.OmegaConf.create(config)})

        assert exp.params["m"] == {"depth": "???", "width": "${nowhere}", "lr": 1, "base": 1, "list": [1, "???"]}

    def test_fields_without_a_value(self, tmp_path):
        """A field that nobody set is left out, and costs no other."""

        @dataclasses.dataclass
        class Late:
            lr: float
            model: Any = dataclasses.field(init=False)

        assert made(tmp_path, {"a": Late(0.1)}).params == {"a": {"lr": 0.1}}

    def test_namespaces(self, tmp_path):
        """A SimpleNamespace is a mapping, as that of argparse is."""
        assert made(tmp_path, SimpleNamespace(a=SimpleNamespace(b=1))).params == {"a": {"b": 1}}

    def test_missing_values(self, tmp_path):
        """W8: what is missing is None."""
        pd = pytest.importorskip("pandas")
        np = pytest.importorskip("numpy")

        assert made(tmp_path, {"a": pd.NA, "b": pd.NaT, "c": np.ma.masked}).params == {"a": None, "b": None, "c": None}


class TestMoments:
    """W12: a moment without a zone is a setting, equal on every host."""

    SCRIPT = """
import sys, datetime, mlv
exp = mlv.Exp(
    sys.argv[1], "tz",
    {"until": datetime.datetime(2024, 1, 1), "at": {datetime.datetime(2024, 1, 1, 2, 30): 1}, "list": [datetime.datetime.max]},
    on_exists="open", capture=(), system=False,
)
exp.log("x", {"when": datetime.datetime(2024, 1, 1)})
print(exp.params_id, exp.params["until"], *exp.params["at"])
"""

    def test_zones(self, tmp_path):
        """Under any zone the params are the same; in data such a moment is local time."""
        lines = []
        for zone in ("UTC", "Europe/Berlin", "Asia/Tokyo", "America/St_Johns"):
            environment = {**os.environ, "TZ": zone, "MLV_INLINE": "1"}
            run = subprocess.run(
                [sys.executable, "-c", self.SCRIPT, str(tmp_path)], env=environment, check=True, capture_output=True, text=True
            )
            lines.append(run.stdout)

        assert len(set(lines)) == 1
        assert lines[0].split()[1:] == ["2024-01-01T00:00:00", "2024-01-01T02:30:00"]
        logged = {event.data["when"] for event in Exp.open(tmp_path / "tz").events("event")}
        assert {"2024-01-01T00:00:00.000000Z", "2023-12-31T15:00:00.000000Z"} <= logged

    def test_with_a_zone(self, tmp_path):
        """A moment with a zone is the same moment everywhere."""
        moment = datetime(2024, 1, 1, tzinfo=timezone.utc)

        assert made(tmp_path, {"at": moment}).params == {"at": "2024-01-01T00:00:00.000000Z"}


class TestAccess:
    def test_by_key(self, exp):
        """`exp["lr"]` is one of the params."""
        assert exp["lr"] == 0.1
        assert "lr" in exp
        assert "nope" not in exp

    def test_unknown(self, exp):
        """A param that is not there is a KeyError that says which are."""
        with pytest.raises(UnknownParam, match="experiment 'exp' has no param 'rl'; it has: lr") as caught:
            exp["rl"]

        assert isinstance(caught.value, KeyError)
        assert caught.value.key == "rl"

    def test_the_users_own_object_is_left_alone(self, tmp_path):
        """What was passed can be changed afterwards; the experiment does not follow."""
        params = copy.deepcopy(PLAIN)
        with made(tmp_path, params) as exp:
            params["lr"] = 7
            params["optimizer"]["betas"].append(3)

            assert exp.params == PLAIN


class TestIdentity:
    def ids(self, tmp_path: Path, *params: Any) -> list[str]:
        return [made(tmp_path, one).params_id for one in params]

    def test_equal_settings(self, tmp_path):
        """Equal settings have equal IDs, whatever their order, and whichever kind of object they came as."""
        turned = {"optimizer": {"betas": (0.9, 0.999), "name": "adam"}, "lr": 0.1}

        assert len(set(self.ids(tmp_path, PLAIN, turned, Settings(0.1, OPTIMIZER), Namespace(**PLAIN)))) == 1

    def test_different_settings(self, tmp_path):
        """Different settings have different IDs; so have NaN, None, infinity and their names."""
        values = [None, math.nan, math.inf, -math.inf, "nan", 0, False, "", [], {}, 1, 1.5, 2**70, b"x"]

        assert len(set(self.ids(tmp_path, *({"a": value} for value in values), {}))) == len(values) + 1

    def test_the_same_in_another_process(self, tmp_path):
        """The ID does not depend on who reads it."""
        exp = made(tmp_path, {"a": math.nan, "b": [2**70, {"_mlv": 1}], "c": b"x"})

        assert Exp.open(exp.path).params_id == pickle.loads(pickle.dumps(exp)).params_id == exp.params_id

    def test_of_the_beginning(self, tmp_path):
        """What is added later does not change the ID: it is that of meta.json."""
        exp = made(tmp_path, PLAIN)
        before = exp.params_id
        exp.add_params({"b": 1})

        assert exp.params_id == before

    def test_property(self, tmp_path):
        """For any params: equal exactly if the canonical JSON is, and the same after a trip through meta.json."""
        pytest.importorskip("hypothesis")
        from hypothesis import given, settings
        from hypothesis import strategies as st
        from strategies import keys, same, values

        @settings(max_examples=25, deadline=None)
        @given(st.dictionaries(keys, values, max_size=4))
        def check(params):
            with made(tmp_path, params, redact_except=["."]) as exp:  # hypothesis finds keys that are credentials
                again = Exp.open(exp.path)
                assert same(thawed(exp.params), params)
                assert same(thawed(again.params), params)
                assert again.params_id == exp.params_id

        check()


CHANGES = {
    "set": lambda d: d.__setitem__("lr", 1),
    "delete": lambda d: d.__delitem__("lr"),
    "update": lambda d: d.update(lr=1),
    "pop": lambda d: d.pop("lr"),
    "popitem": lambda d: d.popitem(),
    "clear": lambda d: d.clear(),
    "setdefault": lambda d: d.setdefault("x", 1),
    "or": lambda d: d.__ior__({"x": 1}),
    "inner": lambda d: d["optimizer"].update(name="sgd"),
    "inner list": lambda d: d["optimizer"]["betas"].append(1),
    "list set": lambda d: d["optimizer"]["betas"].__setitem__(0, 1),
    "list del": lambda d: d["optimizer"]["betas"].__delitem__(0),
    "list add": lambda d: d["optimizer"]["betas"].__iadd__([1]),
    "list mul": lambda d: d["optimizer"]["betas"].__imul__(2),
    "list sort": lambda d: d["optimizer"]["betas"].sort(),
    "list reverse": lambda d: d["optimizer"]["betas"].reverse(),
    "list clear": lambda d: d["optimizer"]["betas"].clear(),
    "list insert": lambda d: d["optimizer"]["betas"].insert(0, 1),
    "list remove": lambda d: d["optimizer"]["betas"].remove(0.9),
    "list pop": lambda d: d["optimizer"]["betas"].pop(),
    "list extend": lambda d: d["optimizer"]["betas"].extend([1]),
    "attribute": lambda d: setattr(d, "x", 1),
}
"""Every way to change a dict or a list."""


class TestImmutability:
    @pytest.mark.parametrize("change", CHANGES.values(), ids=list(CHANGES))
    @pytest.mark.parametrize("which", ["params", "meta"])
    def test_all_the_way_down(self, tmp_path, which, change):
        """Params and meta cannot be changed at any depth."""
        with made(tmp_path, PLAIN) as exp:
            with pytest.raises((TypeError, AttributeError)):
                change(exp.params if which == "params" else exp.meta["params"])

            assert exp.params == exp.meta["params"] == PLAIN

    @pytest.mark.parametrize("copied", [copy.deepcopy, thawed, lambda value: {**value}, dict, lambda value: value.copy()])
    def test_copies_are_free(self, exp, copied):
        """A copy is an ordinary dict."""
        mine = copied(exp.params)
        mine["lr"] = 3

        assert type(mine) is dict
        assert exp["lr"] == 0.1

    def test_they_are_dicts(self, exp):
        """To the rest of the world they are a dict and a list."""
        assert json.loads(json.dumps(exp.params)) == exp.params
        assert pickle.loads(pickle.dumps(exp.params)) == exp.params
        assert isinstance(exp.meta["tags"], list)
        assert {**exp.params} == exp.params

    def test_frozen_and_thawed(self):
        """Freezing and thawing are each other's inverse, and do not touch what they are given."""
        value = {"a": [1, {"b": [2]}]}
        cold = frozen(value)

        assert (type(cold), type(cold["a"]), type(cold["a"][1])) == (FrozenDict, FrozenList, FrozenDict)
        assert thawed(cold) == value
        assert type(thawed(cold)["a"][1]) is dict
        value["a"].append(3)
        assert cold == {"a": [1, {"b": [2]}]}

    def test_frozen_lists_copy_to_lists(self):
        """A copy of a frozen list is an ordinary list, all the way down."""
        mine = copy.deepcopy(frozen([1, [2]]))
        mine[1].append(3)

        assert mine == [1, [2, 3]]
        assert pickle.loads(pickle.dumps(frozen([1]))) == [1]


class TestAdding:
    def test_add(self, exp):
        """Params can be added: an event, and a view of all of them."""
        exp.add_params({"seed": 3, "lr": 0.1})

        assert exp.params == {"lr": 0.1, "seed": 3}
        assert [event.data for event in exp.events("params")] == [{"seed": 3}]
        assert exp.meta["params"] == {"lr": 0.1}

    def test_nothing_new(self, exp):
        """What is there already leaves no event."""
        exp.add_params({"lr": 0.1})

        assert list(exp.events("params")) == []

    def test_conflict(self, exp):
        """A param does not change."""
        with pytest.raises(ParamsConflict, match=r"params\.lr of experiment 'exp' is 0\.1 and stays so: it cannot become 0\.2"):
            exp.add_params({"seed": 1, "lr": 0.2})

        assert exp.params == {"lr": 0.1}

    def test_seen_by_others(self, exp):
        """Another process sees what was added."""
        exp.add_params(Namespace(seed=math.nan))

        assert math.isnan(Exp.open(exp.path)["seed"])

    def test_bad(self, exp):
        """Params that are added are converted like those of the beginning."""
        with pytest.raises(InvalidParams, match=r"params are 3"):
            exp.add_params(3)
        with pytest.warns(MlvWarning, match=r"params\.a\.b "):
            exp.add_params({"a": {"b": len}})

        assert Exp.open(exp.path)["a"] == {"b": "len"}


class TestOpeningWithParams:
    def open(self, tmp_path: Path, params: Any, **options: Any) -> Exp:
        return made(tmp_path, params, on_exists="open", **options)

    def test_new_ones_are_added(self, tmp_path):
        """Params that the experiment has not yet become a `params` event."""
        made(tmp_path, PLAIN).close()
        with self.open(tmp_path, {"lr": 0.1, "seed": 1}) as exp:
            assert exp.params == {**PLAIN, "seed": 1}
            assert [event.data for event in exp.events("params")] == [{"seed": 1}]
            assert exp.runs[-1].params == {}

    def test_a_differing_value(self, tmp_path):
        """A value that differs is refused, and says how to go on; no run begins."""
        made(tmp_path, PLAIN).close()

        with pytest.raises(ParamsConflict, match=r"params\.lr is 0\.2, but .* made with 0\.1.*may_change=\['lr'\]") as caught:
            self.open(tmp_path, {"lr": 0.2})

        assert caught.value.keys == ["lr"]
        assert len(Exp.open(tmp_path / "exp").runs) == 1

    def test_deep_down(self, tmp_path):
        """A value deep down differs as well."""
        made(tmp_path, PLAIN).close()

        with pytest.raises(ParamsConflict, match=r"params\.optimizer"):
            self.open(tmp_path, {"optimizer": {"name": "sgd", "betas": [0.9, 0.999]}})

    def test_what_may_change(self, tmp_path):
        """A param that may change is kept in that run's `run_started`, and the experiment's stays."""
        made(tmp_path, {"lr": 0.1, "seed": 1}).close()
        with self.open(tmp_path, {"lr": 0.1, "seed": 2}, may_change=["seed"]) as exp:
            assert exp["seed"] == 2
            assert exp.runs[-1].params == {"seed": 2}
            assert exp.runs[0].params == {}

        assert Exp.open(exp.path)["seed"] == 1

    def test_added_ones_count(self, tmp_path):
        """What an earlier run added is known to the next one."""
        made(tmp_path, {}).close()
        self.open(tmp_path, {"seed": 1}).close()

        with pytest.raises(ParamsConflict, match=r"params\.seed"):
            self.open(tmp_path, {"seed": 2})

    def test_nan_equals_nan(self, tmp_path):
        """The same NaN again is no conflict."""
        made(tmp_path, {"a": [math.nan], "b": 2**70}).close()

        self.open(tmp_path, {"a": [math.nan], "b": 2**70}).close()

    def test_one_text(self, tmp_path):
        """`may_change="lr"` does not mean l and r."""
        made(tmp_path, PLAIN).close()

        with pytest.raises(InvalidArgument, match=r"give a list, \['lr'\]"):
            self.open(tmp_path, {"lr": 0.2}, may_change="lr")


class TestSecrets:
    def test_kept_from_the_disk(self, tmp_path):
        """A credential is in `exp.params` of this process, and nowhere on the disk."""
        with pytest.warns(RedactedWarning, match=r"params\.db\.password"):
            exp = made(tmp_path, {"db": {"password": "hunter22"}, "pad_token": 3})
        with pytest.warns(RedactedWarning, match=r"params\.hub\.api_key"):
            exp.add_params({"hub": {"api_key": "topsecret1"}})
        exp.close()
        assert (exp["db"]["password"], exp["hub"]["api_key"]) == ("hunter22", "topsecret1")

        stored = b"".join(file.read_bytes() for file in exp.path.rglob("*") if file.is_file())
        assert b"hunter22" not in stored
        assert b"topsecret1" not in stored
        assert Exp.open(exp.path).params == {"db": {"password": "<redacted>"}, "pad_token": 3, "hub": {"api_key": "<redacted>"}}
