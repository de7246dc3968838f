"""Histograms count every value once, alike with numpy and without."""

from __future__ import annotations

import math
import struct
from array import array
from itertools import pairwise

import pytest

from media.places import Folder
from mlv.media import arrays, histogram
from mlv.media.jobs import Unusable

NAN, INF = math.nan, math.inf
GREATEST = 1.7976931348623157e308


@pytest.fixture(params=["numpy", "plain"])
def data_of(request, monkeypatch, tmp_path):
    """The event's data, once with numpy in the worker, once without."""
    if request.param == "plain":
        monkeypatch.setattr(arrays, "numpy_if_there", lambda: None)
    else:
        pytest.importorskip("numpy")
    return lambda *args, **kwargs: Folder(tmp_path).data(histogram.prepare(*args, **kwargs))


class TestValues:
    def test_all_there_is(self, data_of):
        """A bin holds its lower edge, the last one both; the moments are those of the finite values."""
        data = data_of([0, 1, 2, 3, 4, NAN, INF, -INF, NAN], bins=2)

        assert data == {
            "counts": [2, 3], "edges": [0, 2, 4], "count": 5, "min": 0, "max": 4, "mean": 2, "std": math.sqrt(2),
            "nan": 2, "inf": 1, "-inf": 1,
        }  # fmt: skip

    def test_given_edges(self, data_of):
        """With edges that are given, the values outside of them are counted apart."""
        data = data_of([[0.0, 0.5], [1.0, 2.0], [3.0, 4.0]], bins=[0.5, 1, 3])

        assert (data["counts"], data["edges"], data["count"], data["below"], data["above"]) == ([1, 3], [0.5, 1, 3], 6, 1, 1)

    @pytest.mark.parametrize(("value", "more"), [([], {}), ([NAN, NAN], {"nan": 2}), ([INF], {"inf": 1})], ids=repr)
    def test_nothing_to_count(self, data_of, value, more):
        """Without a finite value the range is 0..1, every count 0, and there are no moments."""
        assert data_of(value, bins=2) == {"counts": [0, 0], "edges": [0, 0.5, 1], "count": 0, **more}

    @pytest.mark.parametrize("value", [3.0, 0.0, -0.1, 1e300, GREATEST, -GREATEST, 5e-324], ids=repr)
    def test_constant_values(self, data_of, value):
        """Where all values are equal, the range is widened around them: to a width of 1, or as far as floats need."""
        data = data_of([value] * 3, bins=4)

        assert sum(data["counts"]) == 3
        assert (data["min"], data["max"], data["mean"], data["std"]) == (value, value, value, 0)
        assert all(low < high for low, high in pairwise(data["edges"]))
        if abs(value) < 10:
            assert (data["edges"][0], data["edges"][-1]) == (value - 0.5, value + 0.5)

    def test_values_at_the_ends_of_floats(self, data_of):
        """Neither the range nor the moments overflow."""
        data = data_of([-GREATEST, GREATEST], bins=2)

        assert (data["counts"], data["edges"]) == ([1, 1], [-GREATEST, 0, GREATEST])
        assert (data["mean"], data["std"]) == (0, GREATEST)

    def test_values_too_close_for_the_bins(self, data_of):
        """Two neighbours among the floats are counted in bins that can be told apart."""
        data = data_of([1.0, math.nextafter(1, 2)], bins=64)

        assert sum(data["counts"]) == 2
        assert len(set(data["edges"])) == 65

    @pytest.mark.parametrize("value", [[True, False, True], array("B", [1, 0, 1]), array("f", [1, 0, 1])], ids=repr)
    def test_types(self, data_of, value):
        """Bools and numbers of any width are numbers."""
        assert data_of(value, bins=2)["counts"] == [1, 2]

    @pytest.mark.usefixtures("data_of")
    def test_chunks(self):
        """Values that are looked at in chunks are all counted."""
        prepared = histogram.prepare([*range(10), NAN], bins=5)

        data = histogram.encode(prepared.options, prepared.buffers, None, chunk_values=3)

        assert (data["counts"], data["count"], data["mean"], data["nan"]) == ([2] * 5, 10, 4.5, 1)

    def test_bfloat16(self, data_of):
        """Tensors of bfloat16 are counted as what they stand for."""
        torch = pytest.importorskip("torch")

        data = data_of(torch.tensor([[1.0, 2.0], [3.0, NAN]], dtype=torch.bfloat16), bins=2)

        assert (data["counts"], data["nan"], data["max"]) == ([1, 2], 1, 3)


def test_same_with_numpy_and_without(monkeypatch):
    """Property: counts and edges are equal whatever counts them, the counts numpy's own, and the moments as good as equal."""
    hypothesis, numpy = pytest.importorskip("hypothesis"), pytest.importorskip("numpy")
    st = hypothesis.strategies
    ways = {"numpy": arrays.numpy_if_there, "plain": lambda: None}

    @hypothesis.given(st.lists(st.one_of(st.floats(), st.floats(-3, 3), st.integers(-3, 3))), st.integers(1, 9))
    def holds(values, bins):
        content = struct.pack(f"<{len(values)}d", *values)
        found = []
        for way in ways.values():
            with pytest.MonkeyPatch.context() as patch:
                patch.setattr(arrays, "numpy_if_there", way)
                found.append(histogram.encode({"descr": "<f8", "bins": bins}, [content], None))
        one, other = found
        finite = [value for value in values if math.isfinite(value)]
        assert one["counts"] == numpy.histogram(finite, one["edges"])[0].tolist()
        assert one["count"] == sum(one["counts"]) == len(finite)
        assert {key: one[key] for key in one if key not in ("mean", "std")} == {
            key: other[key] for key in other if key not in ("mean", "std")
        }
        if finite:
            largest = max(map(abs, finite))
            assert math.isclose(one["mean"], other["mean"], rel_tol=1e-9, abs_tol=1e-14 * largest)
            assert math.isclose(one["std"], other["std"], rel_tol=1e-9, abs_tol=1e-14 * largest)

    holds()


class TestReady:
    def test_counts_and_edges(self):
        """Ready counts are the event's data as they are, and no worker is needed."""
        prepared = histogram.prepare(counts=[1, 2], edges=[0, 0.5, 1])

        assert prepared.do is None
        assert prepared.options == {"counts": [1, 2], "edges": [0, 0.5, 1], "count": 3}

    def test_of_numpy(self):
        """What `numpy.histogram` returns can be given."""
        numpy = pytest.importorskip("numpy")
        counts, edges = numpy.histogram([1, 2, 2], 2)

        assert histogram.prepare(counts=counts, edges=edges).options == {"counts": [1, 2], "edges": [1, 1.5, 2], "count": 3}

    @pytest.mark.parametrize(
        ("given", "reason"),
        [
            ({"counts": [1]}, "both counts and edges"),
            ({"edges": [1, 2]}, "both counts and edges"),
            ({"value": [1], "counts": [1], "edges": [0, 1]}, "has values, or else"),
            ({"counts": [1, 2], "edges": [0, 1]}, "one edge more than counts, not 2 edges of 2 counts"),
            ({"counts": [], "edges": [0]}, "one edge more"),
            ({"counts": [1, 2], "edges": [0, 1, 1]}, "each greater than the one before"),
            ({"counts": [1], "edges": [0, INF]}, "finite"),
            ({"counts": [-1], "edges": [0, 1]}, "not below 0"),
            ({"counts": [NAN], "edges": [0, 1]}, "not below 0"),
            ({"counts": [[1]], "edges": [0, 1]}, "a row of numbers"),
            ({"value": [1], "bins": 0}, "1 to 10000 bins, not 0"),
            ({"value": [1], "bins": 10**6}, "1 to 10000 bins"),
            ({"value": [1], "bins": [2, 1]}, "each greater"),
            ({"value": [1], "bins": "auto"}, "a value of type str is no array"),
            ({"value": [1j]}, "real numbers"),
            ({"value": None}, "a value of type NoneType is no array"),
        ],
    )
    def test_what_does_not_fit(self, given, reason):
        """What cannot be a histogram is refused, and the reason says why."""
        with pytest.raises(Unusable, match=reason):
            histogram.prepare(**given)


def test_without_numpy_at_all(python):
    """Lists of numbers need numpy on neither side, not even where something else would import it."""
    done = python(
        """
        import sys
        sys.modules["numpy"] = None
        from mlv.media import histogram, pr_curve
        for module, arguments in (histogram, [[1, 2.5, 3]]), (pr_curve, [[0, 1], [0.1, 0.9]]):
            prepared = module.prepare(*arguments)
            print(sum(module.encode(prepared.options, prepared.buffers, None).get("counts", [0])))
        """
    )

    assert (done.stdout, done.stderr) == ("3\n0\n", "")
