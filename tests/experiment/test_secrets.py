"""No credential reaches the disk: every kind, by every way in, looked for in every file of an experiment and in its spools."""

from __future__ import annotations

import base64
import signal
import subprocess
import sys
from pathlib import Path

import orjson
import pytest
from secrets_corpus import AROUND, KEY_LINES, PRIVATE_KEY, SECRETS, TOKENS, VALUE

import mlv
from mlv.errors import InvalidName, InvalidPattern, MlvWarning, RedactedWarning

NEEDLES = {kind: VALUE if kind in AROUND else KEY_LINES[2] if kind == "private key" else TOKENS[kind] for kind in SECRETS}
SAMPLE = {kind: TOKENS[kind] for kind in ("ghp", "aws", "docker")}

pytestmark = pytest.mark.filterwarnings("ignore::mlv.errors.RedactedWarning")


@pytest.fixture(params=["ring", "inline"])
def way(request, monkeypatch):
    """By the writer, and without one."""
    monkeypatch.setenv("MLV_INLINE", "1" if request.param == "inline" else "")


def leaks(folder, needles):
    """Which kinds stand in which files, in whatever form a file holds texts."""
    contents = {path: path.read_bytes() for path in Path(folder).rglob("*") if path.is_file()}
    names = {str(path.relative_to(folder)) for path in Path(folder).rglob("*")}
    return [
        (kind, str(path))
        for kind, needle in needles.items()
        for path, content in contents.items()
        if needle.encode() in content or base64.b64encode(needle.encode()).rstrip(b"=")[:-1] in content
    ] + [(kind, name) for kind, needle in needles.items() for name in names if needle in name]


def log_everywhere(exp, secret):
    """Put a text into all that takes texts."""
    log = exp.log
    log("config", {"text": secret, "deep": [{"list": [secret, 1]}], secret: 1})
    log.info("says %s", secret, more={"a": [secret]})
    log.info(secret)
    log({"loss": 0.5, secret: float("nan")})
    log({"loss": 0.5, "text": secret})
    log.metric("loss", 1.0)
    log.sub(secret)({"loss": 0.5})
    log.sub(secret)({"loss": 0.5}, step=3)
    log.at(where=secret)({"loss": 0.5})
    log.at(where=secret).info("here")
    log.describe("loss", unit=secret, description=secret)
    log(secret, {"x": 1})
    log("foreign", {"x": 1}, step=mlv.ForeignStep(secret))
    log("bytes", {"raw": secret.encode(), "surrogate": secret + "\ud800"})
    log("large", {"text": "x " * 50_000 + secret})
    log("bad", {"thing": object, "text": secret}, step="three " + secret)
    with log.span("span " + secret, text=secret) as span:
        span.add(more=secret)
    with pytest.raises(ValueError), log.span("failing"):
        raise ValueError(secret)
    log.text("note", secret)
    log.text("long", "y " * 50_000 + secret)
    log.text("cut", "z" * 190 + " " + secret + " y" * 50_000)
    log.text(secret, "named")
    log.table("table", [{"a": 1, "b": secret}])
    log.table("columns", {secret: [1, 2]})
    log.table("big", {"a": list(range(9000)), "b": [secret] * 9000})
    log.table("mixed", {"a": [1, secret] * 9000, "b": [{"x": secret}, None] * 9000})
    log.audio("sound", [0.0, 0.5] * 100, 8000, caption=secret)
    exp.add_tags("tag " + secret)
    exp.add_note(secret)
    exp.add_params({"later": secret})
    exp.pause(secret)
    exp.save_extra("extra", {"text": secret, "list": [secret]})


@pytest.mark.usefixtures("way")
def test_every_kind_by_every_way(tmp_path):
    """B10, B11, D11: whatever kind of credential, by whatever way in: it is in no file and no name of the experiment."""
    text = "\n".join(SECRETS.values())
    with mlv.Exp(tmp_path, "exp", {"p": [*SECRETS.values(), text]}, capture=(), tags=[*SECRETS.values()], notes=text) as exp:
        for secret in SECRETS.values():
            exp.log.info(secret)
            exp.log("event", {"text": secret})
            exp.log.text("text", secret)
            exp.log.table("table", [{"a": secret}])

    assert leaks(tmp_path, NEEDLES) == []


@pytest.mark.parametrize(("is_inline", "kind"), [(True, "ghp"), *((False, kind) for kind in SAMPLE)])
def test_every_way_in(tmp_path, monkeypatch, is_inline, kind):
    """B10, D11: a credential goes from names, coordinates, tables, spilled events, files and rejected values alike."""
    monkeypatch.setenv("MLV_INLINE", "1" if is_inline else "")
    with mlv.Exp(tmp_path, "exp", capture=(), tags=[SAMPLE[kind]], notes=SAMPLE[kind]) as exp:
        log_everywhere(exp, SAMPLE[kind])
        exp.flush()

    assert leaks(tmp_path, {kind: SAMPLE[kind]}) == []


def test_what_is_left_can_be_read(tmp_path):
    """Redaction takes the credential alone: numbers, missing values under renamed keys and references stay."""
    secret = TOKENS["ghp"]
    with mlv.Exp(tmp_path, "exp", capture=()) as exp:
        exp.log({secret: float("nan"), "loss": 0.1}, step=1)
        exp.attach(__file__, "tests.py")
    [metrics] = exp.events("metrics")
    [file] = exp.events("file")

    assert metrics.data["loss"] == 0.1
    assert metrics.data["<redacted>"] != metrics.data["<redacted>"]
    assert (exp.path / file.data["path"]).is_file()


def test_names_of_folders_are_refused(tmp_path):
    """B10: an experiment, kind or stream named like a credential is an error that hides it; `redact_except=` exempts."""
    secret = TOKENS["ghp"]
    with pytest.raises(InvalidName) as error:
        mlv.Exp(tmp_path, f"run-{secret}", capture=())
    assert secret not in str(error.value)
    with pytest.raises(InvalidName, match="kind"):
        mlv.Exp(tmp_path, "exp", kind=secret, capture=())
    with (
        mlv.Exp(tmp_path, f"run-{secret}", capture=(), redact_except=["name"]) as exp,
        pytest.raises(InvalidName, match="stream"),
    ):
        exp.logger(secret)
    with pytest.raises(InvalidName, match="folder"):
        exp.checkpoints(folder=secret)

    assert exp.path.name == f"run-{secret}"


def test_names_of_files_lose_nothing(tmp_path):
    """B10: files named like credentials are published under other names, each its own, with a warning."""
    first, second = TOKENS["ghp"], TOKENS["gho"]
    with mlv.Exp(tmp_path, "exp", capture=()) as exp:
        for name, text in ((first, "one"), (second, "two"), (first, "three")):
            with pytest.warns(RedactedWarning, match="file name") as caught, exp.file(f"a/{name}.txt", "w") as file:
                file.write(text)
            assert first not in str(caught[0].message)
    texts = sorted(path.read_text() for path in (exp.path / "files/a").iterdir())

    assert texts == ["three", "two"]
    assert leaks(tmp_path, {"first": first, "second": second}) == []


def test_outputs_follow(tmp_path):
    """B10: what is made of the log holds no credential either."""
    secret = TOKENS["ghp"]
    with mlv.Exp(tmp_path, "exp", capture=(), outputs=["csv"]) as exp:
        log_everywhere(exp, secret)

    assert list((exp.path / "csv").iterdir())
    assert leaks(tmp_path, {"ghp": secret}) == []


def test_after_kills(tmp_path):
    """S7: what two killed processes left in a spool comes into the log without credentials."""
    script = "import mlv, os, signal, sys\nexp = mlv.Exp(sys.argv[1], 'exp', capture=())\n" + (
        "exp.log.info('before')\nexp.flush()\nexp.log.info('says ' + sys.stdin.read())\nos.kill(os.getpid(), signal.SIGKILL)\n"
    )
    secret = TOKENS["ghp"]
    done = subprocess.run([sys.executable, "-c", script, str(tmp_path)], input=secret, text=True, check=False)
    assert done.returncode == -signal.SIGKILL
    exp = mlv.Exp.open(tmp_path / "exp")

    assert [event.data["message"] for event in exp.events("message")] == ["before", "says <redacted>"]
    assert leaks(tmp_path, {"ghp": secret}) == []


def test_private_keys_on_the_console(tmp_path):
    """B13: a key that is printed in pieces, quoted, to both descriptors in turns, is in no file."""
    script = (
        "import json, pprint, sys, mlv\n"
        "key = sys.stdin.read()\n"
        "with mlv.Exp(sys.argv[1], 'exp', capture=(), console=True):\n"
        "    pprint.pprint({'private_key': key, 'user': 'me'})\n"
        "    print(json.dumps({'private_key': key}, indent=1))\n"
        "    for number, line in enumerate(key.split(chr(10))):\n"
        "        print('> ' + line, file=(sys.stdout, sys.stderr)[number % 2], flush=True)\n"
        "    for line in key.split(chr(10)):\n"
        "        sys.stdout.write(line[:5]); sys.stdout.flush(); print(line[5:])\n"
        "    print('loss', 0.25)\n"
    )
    subprocess.run([sys.executable, "-c", script, str(tmp_path)], input=PRIVATE_KEY, text=True, check=True, capture_output=True)
    printed = [event.data["message"] for event in mlv.Exp.open(tmp_path / "exp").events("message", stream="console")]

    assert "loss 0.25" in printed
    assert leaks(tmp_path, {line: line for line in KEY_LINES[:-1]}) == []


# --- The user's own patterns -----------------------------------------------------------------------------------------

PATTERN = r"corp-[A-Z]+"


def test_patterns_hold_for_later_runs_and_sub_experiments(tmp_path):
    """B12: `redact=` and `redact_except=` hold for every later run, of any process, and for sub-experiments."""
    made = mlv.Exp(tmp_path, "exp", {"a": "corp-A"}, capture=(), redact=[PATTERN], redact_except=["open_word"])
    made.close()
    opened = mlv.Exp.open(made.path)
    opened.log.info("corp-B")
    opened.log("event", {"open_word": "corp-OPEN"})
    opened.add_params({"c": "corp-C"})
    opened.add_tags("corp-D")
    opened.add_note("corp-E")
    with opened.filepath("weights.txt") as path:
        path.write_text("1")
    checkpoint = opened.path / "files/weights.txt"
    opened.close()
    with mlv.init_sub_exp(checkpoint, "sub", params={"z": "corp-F"}, redact=["plum-[0-9]+"]) as sub:
        sub.log.info("corp-G plum-7")
    with mlv.init_sub_exp(sub.path / "meta.json", "deeper", params={"z": "corp-H plum-8"}) as deeper:
        deeper.log({"corp-I": 1.0})
    with mlv.Exp(tmp_path, "exp", {"a": "corp-A", "j": "corp-J"}, on_exists="open", capture=()) as again:
        again.log.info("corp-K")
    script = "import mlv, sys\nmlv.Exp.open(sys.argv[1]).log.info('corp-L')"
    subprocess.run([sys.executable, "-c", script, str(made.path)], check=True)

    assert (
        leaks(tmp_path, {text: text for text in ("plum-7", "plum-8", *(f"corp-{letter}" for letter in "ABCDEFGHIJKL"))}) == []
    )
    assert "corp-OPEN" in (made.path / "log.jsonl").read_text()


def test_patterns_of_a_later_run(tmp_path):
    """B12: `Exp.open` takes patterns of its own; they are said to come too late where the run has begun."""
    mlv.Exp(tmp_path, "exp", capture=()).close()
    opened = mlv.Exp.open(tmp_path / "exp", redact=[PATTERN])
    opened.log.info("corp-A")
    with pytest.warns(MlvWarning, match="goes on with the patterns"):
        mlv.Exp.open(tmp_path / "exp", redact=["plum"])
    opened.close()
    with pytest.raises(InvalidPattern):
        mlv.Exp.open(tmp_path / "exp", redact=["("])

    assert leaks(tmp_path, {"corp": "corp-A"}) == []


def test_a_credential_as_a_pattern_is_not_kept(tmp_path):
    """B12: a pattern that spells out the credential redacts this run, and is not written into meta.json itself."""
    with pytest.warns(RedactedWarning, match="this run alone"):
        exp = mlv.Exp(tmp_path, "exp", capture=(), redact=["hunter2", "acme"])
    exp.log.info("hunter2 acme")
    exp.close()

    assert orjson.loads((exp.path / "meta.json").read_bytes())["redact"] == ["acme"]
    assert leaks(tmp_path, {"literal": "hunter2"}) == []


@pytest.mark.parametrize(
    "stored", [["(a+)+$"], ["(" * 3000], ["["], [3, None], "text", {"a": 1}, ["x" * 10_000], ["(?:a{50}){50}"]]
)
def test_hostile_patterns_in_meta(tmp_path, stored):
    """B12: patterns of a folder from elsewhere hold nobody up, whatever they are: they are passed over."""
    made = mlv.Exp(tmp_path, "exp", capture=())
    made.close()
    meta = orjson.loads((made.path / "meta.json").read_bytes())
    folder = tmp_path / "other"
    folder.mkdir()
    (folder / "meta.json").write_bytes(orjson.dumps({**meta, "redact": stored, "keep": stored}))
    opened = mlv.Exp.open(folder)
    opened.log.info("a" * 5000 + "!")
    opened.close()

    assert [event.data["message"] for event in opened.events("message")] == ["a" * 5000 + "!"]


def test_the_former_name(tmp_path):
    """`keep=` goes on working as `redact_except=`."""
    with mlv.Exp(tmp_path, "exp", {"words_token": "corp-A"}, capture=(), redact=[PATTERN], keep=["words_token"]) as exp:
        assert exp.params["words_token"] == "corp-A"
    assert mlv.Exp.open(exp.path, keep=["other"]).params["words_token"] == "corp-A"
