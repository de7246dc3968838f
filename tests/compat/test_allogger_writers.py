"""Writers of one's own for `mlv.compat.allogger`: what scopes, filters and outputs give them, live and after a kill."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
from conftest import wait_until

import mlv
import mlv.compat.allogger as allogger

numpy = pytest.importorskip("numpy")
h5py = pytest.importorskip("h5py")

MODULE = '''
import json, os
from mlv.compat.allogger.helpers import concurrent
from mlv.compat.allogger.writers import AbstractWriter
from mlv.compat.allogger.writers.helpers import add_value_wrapper, gen_filename

class Lines(AbstractWriter):
    """As writers for ALLogger are written: collects, and writes in `_run` and `close`."""

    def __init__(self, prefix="", **kwargs):
        AbstractWriter.__init__(self, **kwargs)
        self.prefix, self.filename = prefix, gen_filename()

    def _run(self):
        AbstractWriter._run(self)
        self.write_to_disc()

    @concurrent
    def write_to_disc(self):
        with open(os.path.join(self.output_dir, "lines.txt"), "a") as file:
            for (kind, key), rows in self.data.items():
                for step, value in rows:
                    value = value.tolist() if hasattr(value, "tolist") else value
                    file.write(json.dumps([self.prefix + kind, key, step, value]) + "\\n")
        self.data.clear()

    @concurrent
    @add_value_wrapper
    def add_scalar(self, key, value, step): self.data[("scalar", key)].append([step, value])
    @concurrent
    @add_value_wrapper
    def add_histogram(self, key, value, step): self.data[("histogram", key)].append([step, value])
    @concurrent
    @add_value_wrapper
    def add_image(self, key, value, step): self.data[("image", key)].append([step, value])
    @concurrent
    @add_value_wrapper
    def add_scalars(self, key, value, step): self.data[("scalars", key)].append([step, value])
    @concurrent
    @add_value_wrapper
    def add_array(self, key, value, step): self.data[("array", key)].append([step, value])

    def __repr__(self): return "Lines"

    def close(self):
        AbstractWriter.close(self)
        self.write_to_disc()

class Broken(AbstractWriter):
    def add_scalar(self, key, value, step): raise OSError("no room")
'''


@pytest.fixture(autouse=True)
def place(tmp_path, monkeypatch):
    """A folder with the module of a user; whatever a test began is over behind it."""
    (tmp_path / "theirs.py").write_text(MODULE)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    yield tmp_path
    allogger.close()
    sys.modules.pop("theirs", None)


def lines(events: Path | str = "log/events") -> list[list[object]]:
    path = Path(events, "lines.txt")
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def test_kinds():
    """Each kind of value comes by its method, with the key of its scope, its step and the values that were logged."""
    from theirs import Lines

    allogger.basic_configure(logdir="log", default_outputs=["lines"], writers={"lines": Lines})
    logger = allogger.get_logger("main")
    image = numpy.arange(12.0).reshape(1, 3, 4)
    for _ in range(2):
        logger.log(0.5, "s")
    logger.log(numpy.array([1.0, 2.0]), "h")
    logger.log(image, "i")
    logger.log({"x": 1, "y": 2}, "m", data_type="scalars")
    logger.log([[1.0, 2.0]], "a", data_type="array")
    allogger.close()

    assert sorted(lines()) == [
        ["array", "root.main/a", 1, [[1.0, 2.0]]],
        ["histogram", "root.main/h", 1, [1.0, 2.0]],
        ["image", "root.main/i", 1, image.tolist()],
        ["scalar", "root.main/s", 1, 0.5],
        ["scalar", "root.main/s", 2, 0.5],
        ["scalars", "root.main/m", 1, {"x": 1, "y": 2}],
    ]


def test_scopes_filters_and_outputs():
    """A writer hears what outputs and filters of a scope let through; a logdir of a scope's own inherits it."""
    from theirs import Lines

    allogger.basic_configure(
        logdir="log", default_outputs=["hdf"], writers={"lines": Lines}, lines_writer_params={"filter": "loss", "prefix": "p-"}
    )
    loud = allogger.get_logger("loud", default_outputs=["lines"])
    own = allogger.get_logger("own", logdir="log/own", default_outputs=["lines"])
    allogger.get_logger("quiet").log(1, "loss")
    loud.log(3, "loss")
    loud.log(4, "lr")
    own.log(6, "loss")
    allogger.close()

    assert lines() == [["p-scalar", "root.loud/loss", 1, 3]]
    assert lines("log/own/events") == [["p-scalar", "root.own/loss", 1, 6]]
    assert allogger.api.hdf.read_from_key("log/events", "scalar/quiet/loss")["value"].tolist() == [1]


def test_a_writer_called_csv():
    """`to_csv` of the original's `log` sends a value to a writer of that name, or keeps it from it."""
    from theirs import Lines

    allogger.basic_configure(logdir="log", default_outputs=["csv"], writers={"csv": Lines})
    logger = allogger.get_logger("main")
    logger.log(1, "x")
    logger.log(2, "x", to_csv=False)
    allogger.get_logger("quiet", default_outputs=["hdf"]).log(3, "x", to_csv=True)
    allogger.close()

    assert [line[3] for line in lines()] == [1, 3]


@pytest.mark.parametrize("end", ["os.kill(os.getpid(), 9)", "os._exit(0)", "pass"])
def test_whatever_ends_the_script(python, end):
    """Values that were logged reach a writer, once, however the process ends."""
    python(f"""
        import os
        import mlv.compat.allogger as allogger
        from theirs import Lines
        allogger.basic_configure(logdir="log", default_outputs=["lines"], writers={{"lines": Lines}})
        logger = allogger.get_logger("main")
        logger.log(0, "x")
        allogger.get_root().experiment.exp.flush(outputs=True)
        for i in range(1, 100):
            logger.log(i, "x")
        {end}
    """)

    wait_until(lambda: len(lines()) >= 100)
    assert [line[3] for line in lines()] == list(range(100))


def test_children(python):
    """Spawned children log to the writer of the session, whose class need not be theirs."""
    done = python("""
        import multiprocessing
        import mlv.compat.allogger as allogger

        def work():
            allogger.get_logger("worker").log(1, "x")

        if __name__ == "__main__":
            from theirs import Lines
            allogger.basic_configure(logdir="log", default_outputs=["lines"], writers={"lines": Lines})
            child = multiprocessing.get_context("spawn").Process(target=work)
            child.start()
            child.join()
            allogger.close()
    """)

    assert done.returncode == 0, done.stderr
    wait_until(lambda: len(lines()) == 1)
    assert lines()[0][1].startswith("root.worker-")


def test_a_writer_that_fails():
    """It costs neither the log nor the training anything, and is warned about."""
    from theirs import Broken

    allogger.basic_configure(logdir="log", default_outputs=["broken"], writers={"broken": Broken})
    allogger.get_logger("main").log(1, "x")
    with pytest.warns(mlv.OutputFailed, match="no room"):
        allogger.close()

    [exp] = mlv.find("log")
    assert [event.data for event in exp.events("metrics")] == [{"root.main/x": 1}]


def test_mistakes():
    """Names, parameters and outputs that cannot be are refused before anything is on the disk."""
    from theirs import Lines

    with pytest.raises(ValueError, match="no name for a writer"):
        allogger.basic_configure(logdir="log", writers={"hdf": Lines})
    with pytest.raises(TypeError, match="line_writer_params"):
        allogger.basic_configure(logdir="log", writers={"lines": Lines}, line_writer_params={})
    with pytest.raises(ValueError, match="not a valid output"):
        allogger.basic_configure(logdir="log", default_outputs=["lines"])
    with pytest.raises(mlv.InvalidPattern):
        allogger.basic_configure(logdir="log", writers={"lines": Lines}, lines_writer_params={"filter": "("})
    with pytest.raises(NotImplementedError, match="CSV writer"):
        allogger.get_logger("main").log(1, "x", to_csv=True)
    with pytest.raises(ValueError, match="belong to a logdir"):
        allogger.get_logger("sub", writers={"lines": Lines})
    assert not Path("log").exists()


def test_classes_of_the_original(place):
    """Its concrete writers are there, with their arguments, to begin one's own from."""
    from mlv.compat.allogger.writers import FileWriter, HDFWriter, TensorboardWriter

    hdf = HDFWriter(scope="root", output_dir=str(place), debug=False, precision=2, filter="x", min_time_diff_btw_disc_writes=1)
    for value in (1.0, 2.0):
        hdf.add_scalar("root.main/x", value, 1)
        hdf._run()
    hdf.close()
    with h5py.File(next(place.glob("*.h5"))) as file:
        assert file["scalar/main/x"]["value"].tolist() == [1.0, 2.0]
    text = FileWriter(scope="root", output_dir=str(place), debug=True)
    text.add_text("root.main", "hello", 1)
    text._run()
    assert next(place.glob("*.log")).read_text().endswith("> hello\n")
    pytest.importorskip("tensorboardX")
    board = TensorboardWriter(scope="root", output_dir=str(place / "board"), debug=False, use_hdf_hook=False)
    board.add_scalar("root.main/x", 1.0, 1)
    board.close()
    assert list((place / "board").glob("*tfevents*"))
