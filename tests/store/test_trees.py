"""Trees of arrays come back from a `.npz` as they were."""

from __future__ import annotations

import zipfile
from collections import OrderedDict, namedtuple

import pytest

from mlv.store.trees import STRUCTURE, flatten, load_npz, save_npz, unflatten

np = pytest.importorskip("numpy")

State = namedtuple("State", ["count", "mu"])


def round_trip(folder, tree):
    save_npz(folder / "tree.npz", tree)
    return load_npz(folder / "tree.npz")


def same(a, b):
    """Equal in value and in every type; named tuples in name and fields."""
    if isinstance(a, (np.ndarray, np.generic)):
        return type(a) is type(b) and a.dtype == b.dtype and np.array_equal(a, b, equal_nan=a.dtype.kind in "fc")
    if isinstance(a, dict):
        return type(b) is dict and list(a) == list(b) and all(same(a[key], b[key]) for key in a)
    if isinstance(a, (list, tuple)):
        kinds = (type(a).__name__, getattr(a, "_fields", ())), (type(b).__name__, getattr(b, "_fields", ()))
        return kinds[0] == kinds[1] and len(a) == len(b) and all(map(same, a, b))
    return type(a) is type(b) and (a == b or (a != a and b != b))


TREES = {
    "an array": np.arange(6).reshape(2, 3),
    "a state": {"weight": np.ones((2, 2), np.float32), "bias": np.zeros(2), "step": 3},
    "nested": {"dense": {"kernel": np.ones(2)}, "layers": [np.zeros(1), (np.ones(1), "relu", None)]},
    "keys that are numbers": {"state": {0: {"exp_avg": np.ones(2)}, 1: {}}, True: 1, None: 2, 0.5: 3, b"k": 4},
    "keys of the format": {"_mlv": "array", "_mlv_tree": np.ones(1), "name": 3},
    "keys that look alike": {"a/b": np.ones(1), "a": {"b": np.zeros(1)}, "a/b.npy": np.ones(2), "array_1": np.zeros(2)},
    "keys no file has": {"": np.ones(1), "..": np.zeros(1), "a\\b": np.ones(2), "\0": np.ones(3), "\ud800": np.ones(4)},
    "scalars": [True, 0, 2**64, -(2**80), 0.1, float("nan"), float("-inf"), "ä", "\ud800", b"\0\xff", None],
    "scalars of numpy": (np.float32(0.5), np.int8(3), np.bool_(True), np.str_("x"), np.datetime64("2026-01-02")),
    "types": [np.ones(2, kind) for kind in ("?", "i1", "u8", "f2", ">f4", "c16", "U3", "S2", "M8[s]", [("x", "i4")], "V3")],
    "shapes": [np.array(3.0), np.ones((0, 3)), np.asfortranarray(np.ones((2, 3))), np.arange(10)[::-2]],
    "named tuples": State(np.array(1), {"w": State(2, None)}),
    "nothing": {},
    "one number": 1,
}


@pytest.mark.parametrize("tree", TREES.values(), ids=TREES)
def test_round_trip(tmp_path, tree):
    """Values, types, order and keys are those that were saved."""
    assert same(tree, round_trip(tmp_path, tree))


def test_any_tree(tmp_path_factory):
    """It holds for every tree of mappings, lists, tuples, scalars and arrays."""
    hypothesis = pytest.importorskip("hypothesis")
    st = hypothesis.strategies
    numbers = st.lists(st.floats(width=32), max_size=3)
    arrays = st.builds(lambda values, kind: np.array(values).astype(kind), numbers, st.sampled_from(["f4", "f8", "c8"]))
    leaves = st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.binary(max_size=9) | arrays
    keys = st.text(max_size=4) | st.sampled_from(["_mlv", "a/b", "a", "b"])
    trees = st.recursive(
        leaves,
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.tuples(inner, inner)
            | st.dictionaries(keys, inner, max_size=3)
            | st.dictionaries(st.integers(), inner, max_size=3)
        ),
        max_leaves=12,
    )

    @hypothesis.given(trees)
    def holds(tree):
        assert same(tree, round_trip(tmp_path_factory.mktemp("tree"), tree))
        assert same(tree, unflatten(*flatten(tree)))

    holds()


def test_numpy_reads_it(tmp_path):
    """The arrays are there under names that tell their place, also for those who do not know mlv."""
    save_npz(tmp_path / "tree.npz", {"dense": {"kernel": np.ones(2)}, "layers": [np.zeros(1)], "rate": 0.1})

    with np.load(tmp_path / "tree.npz", allow_pickle=False) as file:
        assert sorted(file.files) == [STRUCTURE, "dense/kernel", "layers/0"]
        assert bytes(file[STRUCTURE]).startswith(b'{"dense":{"kernel":{"_mlv":"array"')


def test_npz_of_others(tmp_path):
    """Of a file that numpy wrote, the arrays by their names."""
    np.savez(tmp_path / "a.npz", np.ones(2), weight=np.zeros(1))

    assert same(load_npz(tmp_path / "a.npz"), {"weight": np.zeros(1), "arr_0": np.ones(2)})


@pytest.mark.parametrize(
    ("tree", "message"),
    [
        ({"model": [len]}, r"model/0 is of type builtin_function_or_method: neither"),
        (np.array([{}]), "the value is of type array of Python objects: neither"),
        ({"a": {1, 2}}, "a is of type set"),
        ({"a": np.ma.masked_array([1], [True])}, r"a is of type numpy\.ma"),
        ({"a": {(1, 2): 3}}, "a has a key of type tuple"),
    ],
)
def test_what_is_no_tree(tmp_path, tree, message):
    """A leaf that has no place in it is named, and nothing is written."""
    with pytest.raises(TypeError, match=message):
        save_npz(tmp_path / "tree.npz", tree)

    assert list(tmp_path.iterdir()) == []


def test_a_tree_that_contains_itself(tmp_path):
    """A circle ends with an error."""
    tree = {}
    tree["me"] = [tree]

    with pytest.raises(TypeError, match="contains itself"):
        save_npz(tmp_path / "tree.npz", tree)


def test_pickled_arrays_stay_closed(tmp_path):
    """What would have to be unpickled is not read."""
    np.savez(tmp_path / "a.npz", np.array([len], dtype=object))

    with pytest.raises(ValueError, match="allow_pickle"):
        load_npz(tmp_path / "a.npz")


@pytest.mark.parametrize("kept", [0, 10, 200, -30])
def test_damaged_file(tmp_path, kept):
    """A file that was cut off is a ValueError that names it."""
    save_npz(tmp_path / "tree.npz", {"a": np.ones(100)})
    (tmp_path / "tree.npz").write_bytes((tmp_path / "tree.npz").read_bytes()[:kept])

    with pytest.raises(ValueError, match=r"tree\.npz is no whole \.npz"):
        load_npz(tmp_path / "tree.npz")


def test_structure_without_its_array(tmp_path):
    """A member that was taken out shows."""
    save_npz(tmp_path / "tree.npz", {"a": np.ones(1)})
    with zipfile.ZipFile(tmp_path / "tree.npz") as file, zipfile.ZipFile(tmp_path / "less.npz", "w") as less:
        less.writestr(f"{STRUCTURE}.npy", file.read(f"{STRUCTURE}.npy"))

    with pytest.raises(ValueError, match="no whole"):
        load_npz(tmp_path / "less.npz")


def test_torch(tmp_path):
    """A state dict comes back as numpy's arrays; bfloat16 as float32 of the same values."""
    torch = pytest.importorskip("torch")
    model = torch.nn.Linear(3, 2)
    half = torch.tensor([0.1, 3.0], dtype=torch.bfloat16)

    found = round_trip(tmp_path, {"model": model.state_dict(), "parameter": model.bias, "half": half})

    assert np.array_equal(found["model"]["weight"], model.weight.detach().numpy())
    assert np.array_equal(found["parameter"], model.bias.detach().numpy())
    assert same(found["half"], half.float().numpy())
    assert flatten(half)[1] == {"_mlv": "array", "name": "value", "dtype": "bfloat16"}


def test_torch_without_numbers(tmp_path):
    """A tensor that holds no numbers is named."""
    torch = pytest.importorskip("torch")

    with pytest.raises(TypeError, match=r"w, a torch\.Tensor, cannot become an array of numpy"):
        flatten({"w": torch.empty(2, device="meta")})


@pytest.mark.parametrize("kind", ["bfloat16", "float8_e4m3fn", "float8_e5m2", "int4"])
def test_types_of_extensions(tmp_path, kind):
    """Numbers that numpy does not have come back as ones that it has, with the same values; their type is noted."""
    ml_dtypes = pytest.importorskip("ml_dtypes")
    array = np.array([0, 1, -2, 3]).astype(getattr(ml_dtypes, kind))

    found = round_trip(tmp_path, [array, array[2]])

    plain = np.int8 if kind == "int4" else np.float32
    assert same(found, [np.array([0, 1, -2, 3], plain), plain(-2)])
    assert flatten(array)[1]["dtype"] == kind


def test_jax(tmp_path):
    """A pytree of JAX comes back as numpy's arrays."""
    jax = pytest.importorskip("jax")

    found = round_trip(tmp_path, {"w": jax.numpy.ones(2), "half": jax.numpy.ones(2, "bfloat16")})

    assert same(found, {"w": np.ones(2, np.float32), "half": np.ones(2, np.float32)})


def test_other_mappings(tmp_path):
    """A mapping of any kind comes back as a dict."""
    assert type(round_trip(tmp_path, OrderedDict(a=np.ones(1)))) is dict
