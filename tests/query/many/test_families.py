"""Families, and the numbers over their members."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import mlv
from mlv.query.digest import Digest
from mlv.query.many import families
from mlv.query.many.statistics import Samples, aggregated, t_quantile
from mlv.state import State

np = pytest.importorskip("numpy")


def digest(id: str, params: dict[str, object], kind: str | None = None, parent: str | None = None) -> Digest:
    meta = {"params": params, "kind": kind, "parent": {"id": parent} if parent else None}
    return Digest(Path(id), id, meta, State(), {})


def grouped(digests: list[Digest], over: object) -> list[list[str]]:
    by_id = {found.id: found for found in digests}
    found = families.families(digests, over, lambda one: by_id.get(one.parent_id or ""))
    return [[digests[place].id for place in family.members] for family in found]


SIX = [digest(f"p{seed}", {"lr": 0.1, "seed": seed}) for seed in range(3)]
PRUNED = [digest(f"c{parent.id}{seed}", {"rate": 0.5, "seed": seed}, "prune", parent.id) for parent in SIX for seed in range(2)]


@pytest.mark.parametrize(
    ("over", "expected"),
    [
        ("seed", [["p0", "p1", "p2"], ["cp00", "cp01"], ["cp10", "cp11"], ["cp20", "cp21"]]),
        ("parent.seed", [["p0"], ["p1"], ["p2"], ["cp00", "cp10", "cp20"], ["cp01", "cp11", "cp21"]]),
        (["seed", "parent.seed"], [["p0", "p1", "p2"], ["cp00", "cp01", "cp10", "cp11", "cp20", "cp21"]]),
        ([], [[one.id] for one in SIX + PRUNED]),
    ],
)
def test_prunings_of_several_parents(over, expected):
    """What began from different parents is pooled only where a key of the parent is a nuisance, too."""
    assert grouped(SIX + PRUNED, over) == expected


def test_a_parent_that_is_not_there():
    """Where the parent cannot be found, its ID keeps its children apart from those of others."""
    assert grouped(PRUNED, "seed") == [["cp00", "cp01"], ["cp10", "cp11"], ["cp20", "cp21"]]


@pytest.mark.parametrize(
    ("a", "b", "are_one"),
    [
        ({"lr": 1}, {"lr": 1.0}, True),
        ({"lr": 1}, {"lr": True}, False),
        ({"lr": math.nan}, {"lr": math.nan}, True),
        ({"m": {"x": 1}}, {"m": {"x": 2}}, False),
        ({"m": {"x": 1, "seed": 1}}, {"m": {"x": 1, "seed": 2}}, False),
        ({"lr": 1}, {"lr": 1, "wd": None}, False),
        ({"seed": {"a": 1}}, {"seed": {"a": 2}}, True),
    ],
)
def test_equal_params(a, b, are_one):
    """Params are equal by value, all the way down; a nuisance key takes what is below it along."""
    assert (len(grouped([digest("a", a), digest("b", b)], "seed")) == 1) is are_one


def test_kinds_are_kept_apart():
    """Experiments of different kinds are no family."""
    assert grouped([digest("a", {}, "x"), digest("b", {}, "y")], "seed") == [["a"], ["b"]]


def test_an_unknown_nuisance_key():
    """A key that no experiment has is refused, with those that are close."""
    with pytest.raises(mlv.InvalidArgument, match=r"over='sede': .* did you mean seed"):
        grouped(SIX, "sede")


values = st.floats(allow_nan=True, allow_infinity=True, width=32)
rows = st.lists(st.tuples(st.integers(0, 2), st.integers(0, 3), st.integers(0, 2), values), max_size=60)


@pytest.mark.parametrize("cells", [0, 4, 10**6])  # as sorted values, and as a matrix
@given(rows)
def test_equal_to_plain_numpy(cells, rows):
    """The numbers are those of numpy over the finite values; what is not finite, or not there, is counted."""
    group, member, x, value = (
        np.array([row[i] for row in rows], dtype=kind) for i, kind in enumerate((int, int, float, float))
    )
    expected: dict[tuple[int, float], dict[int, float]] = {}
    for row in rows:
        expected.setdefault((row[0], float(row[2])), {})[row[1]] = row[3]

    found = aggregated(Samples(group, member, x, value), [4, 4, 4], most_cells=cells)

    assert list(zip(found["group"].tolist(), found["x"].tolist(), strict=True)) == sorted(expected)
    for place, key in enumerate(sorted(expected)):
        given_ = np.array(list(expected[key].values()))
        finite = given_[np.isfinite(given_)]
        assert (found["count"][place], found["diverged"][place]) == (len(finite), len(given_) - len(finite))
        assert found["missing"][place] == 4 - len(given_)
        if len(finite):
            scale = {"rtol": 1e-9, "atol": 1e-9 * abs(finite).max()}
            np.testing.assert_allclose(found["mean"][place], finite.mean(), **scale)
            for share in (10, 25, 50, 75, 90):
                np.testing.assert_allclose(found[f"p{share}"][place], np.percentile(finite, share), **scale)
        else:
            assert math.isnan(found["mean"][place])
            assert math.isnan(found["p50"][place])
        if len(finite) > 1:
            np.testing.assert_allclose(found["std"][place], finite.std(ddof=1), **scale)
            half = t_quantile(0.975, len(finite) - 1) * finite.std(ddof=1) / math.sqrt(len(finite))
            np.testing.assert_allclose(found["ci_high"][place], finite.mean() + half, **scale)
        else:
            assert math.isnan(found["std"][place])
            assert math.isnan(found["ci_low"][place])


@pytest.mark.parametrize("freedom", [1, 2, 3, 4, 5, 10, 29, 30, 200])
@pytest.mark.parametrize("probability", [0.6, 0.9, 0.975, 0.9995])
def test_students_t(freedom, probability):
    """The quantiles are those of scipy."""
    stats = pytest.importorskip("scipy.stats")

    assert t_quantile(probability, freedom) == pytest.approx(stats.t.ppf(probability, freedom), rel=1e-8)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"stats": ["median"]}, "'median': give some of mean, std"),
        ({"stats": ["p101"]}, "'p101'"),
        ({"ci": 95}, "ci=95: give a number between 0 and 1"),
    ],
)
def test_bad_arguments(options, said):
    """Numbers that there are not are refused."""
    empty = np.array([], dtype=int)
    with pytest.raises(mlv.InvalidArgument, match=said):
        aggregated(Samples(empty, empty, empty.astype(float), empty.astype(float)), [], **options)
