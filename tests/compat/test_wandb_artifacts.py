"""`mlv.compat.wandb`: artifacts with versions, aliases and lineage, in plain folders."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from wandb_folder import own_folder

import mlv
import mlv.compat.wandb as wandb
from mlv.audit.verify import verify

pytestmark = pytest.mark.usefixtures("inline")


@pytest.fixture(autouse=True)
def _own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    with own_folder(tmp_path, monkeypatch):
        yield


def logged(content: str, name: str = "model", aliases: tuple[str, ...] = (), run: Any = None) -> Any:
    """Log an artifact with one file, by a run of its own unless one is given."""
    Path("weights.pt").write_text(content)
    artifact = wandb.Artifact(name, "model", description="text", metadata={"acc": 0.5})
    artifact.add_file("weights.pt")
    with run or wandb.init(project="p") as logging:
        return logging.log_artifact(artifact, aliases=list(aliases))


def test_versions_and_aliases():
    """Each content is a version; an alias belongs to the latest version that has it, and equal content is no new one."""
    first, second = logged("1", aliases=("best", "old")), logged("2", aliases=("best",))
    same = logged("2", aliases=("again",))

    assert (first.name, second.name, same.name) == ("model:v0", "model:v1", "model:v1")
    assert (first.version, first.aliases, same.aliases, first.type) == ("v0", ["best", "old"], ["best", "again"], "model")
    with wandb.init(project="p") as run:
        chosen = {alias: run.use_artifact(f"model:{alias}").version for alias in ("latest", "v0", "best", "old", "again")}
        assert chosen == {"latest": "v1", "v0": "v0", "best": "v1", "old": "v0", "again": "v1"}
        assert run.use_artifact("model").version == "v1"


def test_download(tmp_path):
    """Files are copied into a folder, whole, and again only where they differ."""
    Path("data/deep").mkdir(parents=True)
    Path("data/a.txt").write_text("a")
    Path("data/deep/b.txt").write_text("b")
    artifact = wandb.Artifact("set", type="dataset")
    artifact.add_dir("data")
    artifact.add_dir("data/deep", name="again")
    artifact.add_reference("s3://bucket/big.bin")
    with artifact.new_file("new/c.json", "w") as file:
        file.write("{}")
    artifact.add(wandb.Table(columns=["x"], data=[[1]]), "rows")
    artifact.add(wandb.Html("<p>"), "page")
    artifact.add_file("data/a.txt", name="gone.txt")
    artifact.remove("gone.txt")
    with wandb.init(project="p") as run:
        run.log_artifact(artifact)
    with wandb.init(project="p") as run:
        used = run.use_artifact("set:latest", type="dataset")
        folder = used.download()

    assert folder == os.path.join("artifacts", "set:v0")
    there = sorted(path.relative_to(folder).as_posix() for path in Path(folder).rglob("*") if path.is_file())
    [page] = [name for name in there if name.startswith("media/html/")]
    assert there == ["a.txt", "again/b.txt", "deep/b.txt", page, "new/c.json", "page.html-file.json", "rows.table.json"]
    assert (used.get("rows").data, used.get("nothing"), used.file_count) == ([[1]], None, 8)
    assert used.get_entry("big.bin").download() == "s3://bucket/big.bin"
    assert used.get_path("a.txt").download("elsewhere") == os.path.join("elsewhere", "a.txt")
    used.verify()
    Path(folder, "a.txt").write_text("changed")
    with pytest.raises(ValueError, match=r"a\.txt"):
        used.verify()
    assert Path(used.download(), "a.txt").read_text() == "a"
    assert verify(used.exp.path).verdict == "intact"


def test_lineage():
    """The log says which experiment logged a version, and which ones use it."""
    artifact = logged("1")
    with wandb.init(project="p", name="user") as run:
        run.use_artifact(artifact)

    [event] = mlv.Exp.open(run.exp.path).events("event", name="wandb/use_artifact")
    assert event.data["artifact"] == "model:v0"
    assert event.data["experiment"]["id"] == artifact.exp.id
    [event] = artifact.exp.events("event", name="wandb/log_artifact")
    assert event.data["digest"] == artifact.digest
    assert (artifact.size, artifact.metadata, artifact.description) == (1, {"acc": 0.5}, "text")


def test_paths_and_models():
    """A path is an artifact, too; models are artifacts of their type."""
    Path("net").mkdir()
    Path("net/a.bin").write_text("a")
    Path("net/b.bin").write_text("b")
    with wandb.init(project="p", id="r1"):
        path = wandb.log_artifact("net/a.bin")
        wandb.log_model("net", "whole", aliases=["best"])
        wandb.log_model("net/a.bin", "single")
        assert (path.name, path.type) == ("run-r1-a.bin:v0", "unspecified")
        assert sorted(os.listdir(wandb.use_model("whole:best"))) == ["a.bin", "b.bin"]
        assert Path(wandb.use_model("single")).read_text() == "a"
        assert Path(wandb.use_artifact("single").file("out")).read_text() == "a"


def test_changed_aliases():
    """Aliases and metadata of a version can change; its files cannot."""
    artifact = logged("1")
    artifact.aliases.append("production")
    artifact.metadata["checked"] = True
    artifact.save()

    with wandb.init(project="p") as run:
        used = run.use_artifact("model:production")
    assert (used.version, used.metadata) == ("v0", {"acc": 0.5, "checked": True})
    with pytest.raises(wandb.UsageError, match="stays as it is"):
        artifact.add_file("weights.pt")


def test_other_projects_and_renamed_experiments():
    """An artifact of another project is found by its name, and goes with its experiment."""
    artifact = logged("1")
    artifact.exp.path.rename(artifact.exp.path.parent / "renamed")

    with wandb.init(project="q") as run:
        used = run.use_artifact("entity/p/model:v0")
        assert Path(used.download(), "weights.pt").read_text() == "1"


def test_a_name_that_another_experiment_has_by_now():
    """The files are those of the experiment that logged them, though it was renamed and another one has its name."""
    with wandb.init(project="p", name="n") as run:
        logged("1", run=run)
    run.exp.path.rename(run.exp.path.parent / "renamed")
    wandb.init(project="p", name="n").finish()

    with wandb.init(project="p") as later:
        assert Path(later.use_artifact("model:v0").download(), "weights.pt").read_text() == "1"


def test_a_content_whose_files_are_gone():
    """Logging it again stores it again: a version that went with its experiment does not serve."""
    shutil.rmtree(logged("1").exp.path)
    again = logged("1")

    assert again.version == "v1"
    assert Path(again.download("copy"), "weights.pt").read_text() == "1"


@pytest.mark.parametrize(
    "changes",
    [
        {"files": {"../../out.txt": {"path": "files/artifacts/model/v0/weights.pt"}}},
        {"files": {"weights.pt": {"path": "../../../secret.txt"}}},
        {"files": {"weights.pt": {"path": os.path.abspath("secret.txt")}}},
        {"experiment": "../.."},
        {"files": []},
        {"aliases": None},
        {"digest": None},
    ],
)
def test_files_that_are_no_versions(changes):
    """A version that leads out of its folders, or is damaged, is none: nothing is read or written there."""
    logged("1")
    path = Path("runs/p/.wandb-artifacts/model/v0.json")
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))

    with wandb.init(project="p") as run, pytest.raises(wandb.UsageError, match="no artifact 'model'"):
        run.use_artifact("model")
    assert logged("2").version == "v1"


def test_credentials():
    """What is kept from the params of an experiment is kept from its artifacts too."""
    with pytest.warns(mlv.errors.RedactedWarning):
        run = wandb.init(project="p", config={"api_key": "hunter2hunter2", "lr": 0.1})
    artifact = wandb.Artifact("model", "model", metadata=dict(run.config))
    artifact.add_reference("https://me:hunter2hunter2@example.com/data")
    run.log_artifact(artifact)
    run.finish()

    texts = [path.read_text(errors="replace") for path in Path("runs/p").rglob("*") if path.is_file()]
    assert not [text for text in texts if "hunter2" in text]
    with wandb.init(project="p") as later:
        assert later.use_artifact("model").metadata["lr"] == 0.1


def test_names_of_files_that_are_stored_under_others():
    """A file is read under the name that it was added by, whatever name the experiment has for it."""
    Path("w").write_text("1")
    artifact = wandb.Artifact("model", "model")
    artifact.add_file("w", name="a\\b")
    with wandb.init(project="p") as run:
        stored = run.log_artifact(artifact)

    assert Path(stored.file("copy")).read_text() == "1"


def test_a_version_each():
    """Processes that log at the same time get a version each."""
    source = """
        import mlv.compat.wandb as wandb, os, sys
        with wandb.init(project="p") as run, open(sys.argv[1], "w") as file: file.write(sys.argv[1])
        with wandb.init(project="p") as run: print(run.log_artifact(sys.argv[1], name="model", type="model").version)
        """
    Path("log.py").write_text("\n".join(line.strip() for line in source.splitlines()))
    workers = [subprocess.Popen([sys.executable, "log.py", f"{i}"], stdout=subprocess.PIPE, text=True) for i in range(3)]

    assert sorted(worker.communicate(timeout=60)[0].strip() for worker in workers) == ["v0", "v1", "v2"]


def test_an_unfinished_version_is_passed_over():
    """A process that dies between taking a version and recording it costs a number, and nothing else."""
    logged("1")
    Path("runs/p/.wandb-artifacts/model/v1.json").touch()

    assert logged("2").version == "v2"
    with wandb.init(project="p") as run:
        assert run.use_artifact("model").version == "v2"
    assert json.loads(Path("runs/p/.wandb-artifacts/model/v2.json").read_text())["aliases"] == []


def test_bad_input():
    """What cannot be is said: names, paths, types, versions that are not there, files that are gone."""
    for name in ("a/b", "..", "with space", ""):
        with pytest.raises(ValueError, match="Artifact name"):
            wandb.Artifact(name, "model")
    artifact = wandb.Artifact("model", "model")
    with pytest.raises(ValueError, match=r"missing\.pt"):
        artifact.add_file("missing.pt")
    with pytest.raises(ValueError, match="not a directory"):
        artifact.add_dir("missing")
    with pytest.raises(FileNotFoundError):
        artifact.remove("missing")
    with pytest.raises(TypeError, match="Histogram"):
        artifact.add(wandb.Histogram(np_histogram=([1], [0, 1])), "h")
    for call in (artifact.download, artifact.files, lambda: artifact.version, lambda: artifact.get("a")):
        with pytest.raises(wandb.UsageError, match="log it first"):
            call()
    for aliases in (["a/b"], "a:b"):
        with pytest.raises(ValueError, match="Aliases must not contain"), wandb.init(project="p") as run:
            run.log_artifact(artifact, aliases=aliases)
    with pytest.raises(ValueError, match="reserved"):
        wandb.Artifact("model", "wandb-history")
    with pytest.raises(TypeError, match="metadata"):
        wandb.Artifact("model", "model", metadata=[1])
    with pytest.raises(AttributeError, match=r"Artifact\.logged_by is not in mlv\.compat\.wandb"):
        artifact.logged_by()
    done = logged("1")
    with wandb.init(project="p") as run:
        for name in ("other", "model:v9", "model:best"):
            with pytest.raises(wandb.UsageError, match=f"no artifact '{name}'"):
                run.use_artifact(name)
        with pytest.raises(wandb.UsageError, match="of type 'model', not 'dataset'"):
            run.use_artifact("model", type="dataset")
        with pytest.raises(KeyError, match="none"):
            done.get_entry("none")
        (done.exp.path / "files/artifacts/model/v0/weights.pt").unlink()
        with pytest.raises(mlv.errors.FileUnusable, match="Bring its experiment back"):
            done.download()


REFUSED = ["../out", "/abs", "a/../b", ".", "..", "C:/x", "nul\0"]
"""Names that lead out of an artifact, or that no file has."""


@pytest.mark.parametrize("name", REFUSED)
def test_refused_names(name):
    """A name that leads out of the artifact is an error that names it, of each way to add a file, and costs nothing else."""
    Path("data").mkdir()
    Path("data/a.txt").write_text("a")
    artifact = wandb.Artifact("set", "dataset")
    artifact.add_file("data/a.txt", name="before")
    for add in (
        lambda: artifact.add_file("data/a.txt", name=name),
        lambda: artifact.add_dir("data", name=name),
        lambda: artifact.add_reference("s3://bucket/x", name=name),
        lambda: artifact.add(wandb.Table(columns=["a"], data=[[1]]), f"{name}/../../x"),
        artifact.new_file(name).__enter__,
    ):
        with pytest.raises(wandb.UsageError, match="Invalid artifact path") as caught:
            add()
        assert isinstance(caught.value, ValueError)  # as in wandb
        assert repr(name)[1:-1] in str(caught.value)
    artifact.add_file("data/a.txt", name="./behind//it")

    with wandb.init(project="p") as run:
        stored = run.log_artifact(artifact)
    assert sorted(entry.path for entry in stored.files()) == ["before", "behind/it"]


def test_files_and_folders_in_each_others_way():
    """A file cannot lie where a folder does, nor the other way round: that is said at once, and the others are stored."""
    Path("a.txt").write_text("a")
    artifact = wandb.Artifact("set", "dataset")
    artifact.add_file("a.txt", name="x")
    artifact.add_file("a.txt", name="deep/y")
    for name, other in (("x/y", "'x' is a file"), ("deep", "'deep' cannot be added")):
        with pytest.raises(ValueError, match=other):
            artifact.add_file("a.txt", name=name)
    artifact.remove("deep")
    artifact.add_file("a.txt", name="deep")

    with wandb.init(project="p") as run:
        assert sorted(entry.path for entry in run.log_artifact(artifact).files()) == ["deep", "x"]


def test_a_name_is_taken_once():
    """Another content under a name that is taken is an error; the same one is not, and `overwrite` replaces it."""
    Path("a.txt").write_text("a")
    Path("b.txt").write_text("b")
    artifact = wandb.Artifact("set", "dataset")
    artifact.add_file("a.txt", name="x")
    artifact.add_file("a.txt", name="x")
    with pytest.raises(ValueError, match="Cannot add the same path twice: 'x'"):
        artifact.add_file("b.txt", name="x")
    with pytest.raises(ValueError, match="'x' already exists"), artifact.new_file("x"):
        pass
    with pytest.raises(KeyError), artifact.new_file("gone") as file:
        file.write({}["half"])
    artifact.add_file("b.txt", name="x", overwrite=True)

    with wandb.init(project="p") as run:
        stored = run.log_artifact(artifact, aliases="only")
    assert (Path(stored.file("out")).read_text(), stored.aliases) == ("b", ["only"])


def test_a_folder_with_pipes():
    """Pipes, and links to files that are gone, are left out of a folder: nothing may ever come of them."""
    Path("data").mkdir()
    Path("data/a.txt").write_text("1")
    Path("data/gone").symlink_to("nowhere")
    os.mkfifo("data/pipe")
    for policy in ("mutable", "immutable"):
        artifact = wandb.Artifact(policy, "dataset")
        artifact.add_dir("data", policy=policy)
        with wandb.init(project="p") as run:
            run.log_artifact(artifact)
        assert [entry.path for entry in artifact.files()] == ["a.txt"]


def test_files_are_those_that_were_added():
    """What happens to a file after it was added does not matter, unless its policy says that nothing will."""
    Path("model.pt").write_text("1")
    artifact = wandb.Artifact("model", "model")
    entry = artifact.add_file("model.pt")
    Path("model.pt").write_text("2")
    artifact.add_file("model.pt", name="later", policy="immutable")
    Path("model.pt").write_text("3")
    with wandb.init(project="p") as run:
        folder = Path(run.log_artifact(artifact).download())

    assert {path.name: path.read_text() for path in folder.iterdir()} == {"model.pt": "1", "later": "3"}
    assert (entry.path, entry.size) == ("model.pt", 1)


def test_references():
    """Addresses stay addresses; files of this machine, and of other artifacts, are read where they lie."""
    Path("data").mkdir()
    Path("data/a.txt").write_text("a")
    with pytest.raises(ValueError, match="must be URIs"):
        wandb.Artifact("set", "dataset").add_reference("data/a.txt")
    with pytest.raises(ValueError, match=r"file:///nothing"):
        wandb.Artifact("set", "dataset").add_reference("file:///nothing")
    first = logged("1")
    artifact = wandb.Artifact("set", "dataset")
    artifact.add_reference(Path("data").absolute().as_uri())
    artifact.add_reference("s3://bucket/big.bin", name="big")
    artifact.add_reference(first.get_entry("weights.pt"), name="of_model.pt")
    with wandb.init(project="p") as run:
        stored = run.log_artifact(artifact)
        assert run.log_artifact("gs://bucket/b c").get_entry("b c").ref_target() == "gs://bucket/b c"

    folder = Path(stored.download())
    assert {path.name: path.read_text() for path in folder.iterdir()} == {"a.txt": "a", "of_model.pt": "1"}
    assert stored.get_entry("big").download() == "s3://bucket/big.bin"
    assert stored.get_entry("of_model.pt").ref == "wandb-artifact://p/model:v0/weights.pt"


def test_saved_without_a_run():
    """`save` of a new artifact logs it: in the run that goes on, or in one of its own."""
    artifact = wandb.Artifact("own", "dataset")
    artifact.save(project="p")
    with wandb.init(project="p") as run:
        another = wandb.Artifact("of-run", "dataset")
        another.save()

    assert (artifact.name, artifact.is_draft(), artifact.exp.kind) == ("own:v0", False, "auto")
    assert another.exp.id == run.exp.id


def test_metadata_that_hold_themselves():
    """Such a value costs itself only."""
    circle: dict[str, Any] = {}
    circle["circle"] = circle
    artifact = wandb.Artifact("set", "dataset", metadata={"good": 1, "bad": circle})
    with wandb.init(project="p") as run:
        run.log_artifact(artifact)
    with wandb.init(project="p") as run:
        metadata = run.use_artifact("set").metadata

    assert metadata == {"good": 1, "bad": "<dict, which holds itself or cannot be read>"}


def test_disabled():
    """A run that stores nothing takes artifacts, and makes no version."""
    run = wandb.init(project="p", mode="disabled")

    assert logged("1", run=run).wait().name == "model"
    assert not Path("runs").exists()


def test_mlv_disabled(monkeypatch):
    """Where mlv stores nothing, logging an artifact gives a version all the same, and writes nothing."""
    monkeypatch.setenv("MLV_DISABLED", "1")

    assert logged("1").version == "v0"
    assert not Path("runs").exists()
