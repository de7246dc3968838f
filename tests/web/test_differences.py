"""The page that compares experiments: only what differs, and long texts line by line."""

from __future__ import annotations

import subprocess
import sys

import pytest

import mlv
from mlv.web.differences import lines_apart


def section(answer: dict, name: str) -> dict[str, dict]:
    """Return the rows of a section by their names."""
    [table] = [table for table in answer["sections"] if table["name"] == name]
    return {row["name"]: row for row in table["rows"]}


@pytest.fixture
def pair(runs) -> list[str]:
    """The IDs of two experiments that differ in a param, a long text, a note, and in metrics."""
    ids = []
    for number in range(2):
        text = "\n".join(["first", *(f"line {at}" for at in range(20)), f"last {number}"])
        params = {"lr": 0.1, "seed": number, "prompt": text, **({"extra": None} if number else {})}
        with mlv.Exp(runs, "pair", params, capture=(), notes=f"note {number}\nsecond") as exp:
            exp.log({"same": 1.0, "loss": 1.0}, step=0)
            exp.log({"loss": 2.0 + number}, step=1)
        ids.append(exp.id)
    return ids


def test_only_differences_are_sent(client, pair):
    """Params and metrics are rows where they differ, and are counted where they are equal."""
    answer = client.get("api/compare", params={"ids": ",".join(pair)}).json()
    params, metrics = section(answer, "params"), section(answer, "metrics")

    assert answer["ids"] == pair
    assert (params["seed"]["values"], params["extra"]["values"], params["extra"]["absent"]) == ([0, 1], [None, None], [0])
    assert "lr" not in params
    assert metrics["loss"]["values"] == [2.0, 3.0]
    assert metrics["loss"]["stats"]["max"] == [2.0, 3.0]
    assert list(metrics) == ["loss"]
    assert [table["equal"] for table in answer["sections"] if table["name"] == "metrics"] == [1]


def test_long_texts_are_compared_line_by_line(client, pair):
    """Of a text of many lines only the lines that differ are sent, with a few around them."""
    answer = client.get("api/compare", params={"ids": ",".join(pair)}).json()
    diffs = {(diff["section"], diff["name"]): diff for diff in answer["diffs"]}
    [hunk] = diffs["params", "prompt"]["hunks"]

    assert [line for sign, line in hunk["lines"] if sign == "-"] == ["last 0"]
    assert [line for sign, line in hunk["lines"] if sign == "+"] == ["last 1"]
    assert len(hunk["lines"]) == 5
    assert hunk["a"] == 19
    assert ("notes", "notes") in diffs
    assert "prompt" not in section(answer, "params")


def test_diffs_of_git_are_compared(client, runs, tmp_path):
    """The uncommitted changes of two experiments are compared by their lines, and are a text in each one's overview."""
    repository = tmp_path / "repository"
    repository.mkdir()
    script = repository / "train.py"
    begin = f"import mlv\nmlv.Exp({str(runs)!r}, 'tracked', capture=['git']).close()\n"
    script.write_text(begin)
    words = ["-c", "user.name=a", "-c", "user.email=a@b", "-C", str(repository)]
    for command in (["init", "-q"], ["add", "."], ["commit", "-qm", "first"]):
        subprocess.run(["git", *words, *command], check=True)
    for number in range(2):
        script.write_text(f"{begin}# changed {number}\n")
        subprocess.run([sys.executable, script], check=True, cwd=repository)
    ids = [exp.id for exp in mlv.find(runs) if "tracked" in exp.name]

    answer = client.get("api/compare", params={"ids": ",".join(ids)}).json()
    [diff] = [diff for diff in answer["diffs"] if diff["section"] == "git"]
    overview = client.get(f"api/exp/{ids[0]}").json()

    assert ["-", "+# changed 0"] in diff["hunks"][0]["lines"]
    assert ["+", "+# changed 1"] in diff["hunks"][0]["lines"]
    assert not [name for name in section(answer, "git") if name.startswith("diff")]
    assert "+# changed 0" in overview["git"]["diff"]["text"]
    assert overview["git"]["diff"]["cut"] is False


def test_huge_texts_are_cut():
    """Texts of very many lines are compared in their first ones, and the answer says so."""
    hunks, is_cut = lines_apart("\n".join(map(str, range(9000))), "\n".join(map(str, range(1, 9000))))

    assert is_cut
    assert hunks[0]["lines"][0] == ["-", "0"]


@pytest.mark.parametrize("count", [1, 21])
def test_number_of_experiments(client, pair, count):
    """One experiment, and more than twenty, are refused with a sentence."""
    ids = [pair[0]] if count == 1 else [pair[0][: 9 + number] for number in range(count)]

    answer = client.get("api/compare", params={"ids": ",".join(ids)})

    assert answer.status_code == (400 if count == 1 else 200 if len({*ids}) < 2 else 400)
    assert "compare 2 to 20" in answer.json()["error"]
