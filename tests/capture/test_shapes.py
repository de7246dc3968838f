"""Every kind of credential that scanners know goes from every text, and what science writes every day stays."""

from __future__ import annotations

import json

import pytest
from secrets_corpus import AROUND, INNOCENT, KEY_LINES, PRIVATE_KEY, TOKENS, VALUE

from mlv.capture.patterns import is_bounded, storable
from mlv.capture.redaction import REDACTED, Redactor

SURROUNDINGS = ["{}", "see {}, please", "a={}&b=1", '"{}"', "({})", "/a/{}/x", "\x1b[31m{}\x1b[0m", r"\n{}\n", "%3D{}", "é{}é"]


@pytest.mark.parametrize("kind", TOKENS)
def test_tokens(kind):
    """B11: a token goes whole, whatever stands around it: also colours, escapes and other alphabets."""
    found = [Redactor().text(around.format(TOKENS[kind]), "x") for around in SURROUNDINGS]

    assert [text for text in found if TOKENS[kind][-8:] in text or TOKENS[kind][:12] in text] == []
    assert found[:5] == [around.format(REDACTED) for around in SURROUNDINGS[:5]]


@pytest.mark.parametrize("start", ["\x1b[", "\\x1b[", "\\033[", "\\e["])
@pytest.mark.parametrize("colour", ["31m", "1;31m", "38;5;208m", "0;1;32;44m", "38;2;255;255;255m"])
def test_behind_a_colour(start, colour):
    """B11: a token goes that begins right behind the escape of a colour, however many numbers that has."""
    for kind, token in TOKENS.items():
        text = f"{start}{colour}{token}"

        assert token not in Redactor().text(text, "x"), kind
        assert Redactor().may_find(json.dumps(text).encode()), kind


@pytest.mark.parametrize("kind", AROUND)
@pytest.mark.parametrize("prefix", ["", "2026-11-21 INFO: ", "\t"])
def test_what_is_around_tells(kind, prefix):
    """B11: a password without a shape goes from addresses, headers, connection strings, commands and files of settings."""
    text = AROUND[kind] if kind == "netrc line" else prefix + AROUND[kind]

    assert VALUE not in Redactor().text(text, "x")
    assert VALUE not in Redactor().source(text, "x")


@pytest.mark.parametrize("text", INNOCENT)
def test_innocent_texts(text):
    """S9: names of models, hashes, counts of tokens and the like are left alone, wherever they stand."""
    redactor = Redactor()

    assert [redactor.text(text, "x"), redactor.source(text, "x"), redactor.variables({"NOTE": text})["NOTE"]] == [text] * 3
    assert redactor.data({"note": [text], text: 1}, "event") == {"note": [text], text: 1}
    assert redactor.params({"note": [text], text: 1}) == {"note": [text], text: 1}
    assert redactor.argv([f"--note={text}"]) == [f"--note={text}"]
    assert redactor.redactions == []


@pytest.mark.parametrize(
    "words",
    [
        ["--obs-key", "state"],
        ["--action_key", "action"],
        ["--tokenizer-key=input_ids"],
        ["ENCODER_KEY=encoder2"],
        ["key=val"],
        ["--reward-key", "r1"],
        ["--monitor_key", "val/loss"],
        ["--model-key", "resnet"],
        ["--max-tokens", "512"],
        ["--key", "obs"],
        ["--use-auth-token", "true"],
        ["--password-length=12"],
        ["+pad_token='[PAD]'"],
        ["--num-passes", "3"],
        ["--two-pass"],
    ],
)
def test_innocent_command_lines(words):
    """S9: options of a training script that end in `key`, `token` or `pass` keep their values."""
    assert Redactor().argv(words) == words


def test_innocent_variables():
    """S9: so do variables."""
    environ = {
        "PASS": "2",
        "SECRETARY": "Ms. Jones",
        "REWARD_KEY": "r7",
        "ENCODER_KEY": "e7",
        "OBS_KEY": "pixels",
        "USE_TOKEN": "false",
        "PASSWORD_MIN_LENGTH": "8",
        "PWD": "/home/me2",
        "TOKEN_TYPE": "bpe2",
        "CLS_TOKEN": "[CLS]",
        "EOS_TOKEN": "<|end7|>",
    }

    assert Redactor().variables(environ) == dict(sorted(environ.items()))


@pytest.mark.parametrize(
    "name", ["PASSWORD", "MY_PASS", "HF_TOKEN", "KEY", "DATABASE_PASSWORD_2", "MODEL_KEY", "AZURE_SUBSCRIPTION_KEY"]
)
def test_names_still_tell(name):
    """Fewer false alarms let no made-up value through."""
    assert Redactor().variables({name: VALUE}) == {name: REDACTED}


def test_events_by_exact_name():
    """In data of events a few exact names, and strong ones before made-up texts, hide texts; numbers stay."""
    data = {
        "password": "sesame",
        "api_key": VALUE,
        "wandb_api_key": VALUE,
        "X-Api-Key": VALUE,
        "secret": 3,
        "pad_token": "<pad>",
    }
    clean = Redactor().data(data, "event")

    assert clean == {**data, "password": REDACTED, "api_key": REDACTED, "wandb_api_key": REDACTED, "X-Api-Key": REDACTED}


@pytest.mark.parametrize("text", [*TOKENS.values(), *AROUND.values(), PRIVATE_KEY])
def test_twice_changes_nothing(text):
    """What was redacted, by the producer or by an earlier writer, stays as it is."""
    once = Redactor().text(f"a {text} b", "x")

    assert Redactor().source(once, "x") == once


@pytest.mark.parametrize("text", [*TOKENS.values(), *AROUND.values(), PRIVATE_KEY])
def test_glances(text):
    """The glance at a large event finds whatever a closer look could find."""
    assert Redactor().may_find(json.dumps({"a": text}).encode())


WRITINGS = {
    "pprint": "\n".join(f"    '{line}\\n'" for line in PRIVATE_KEY.split("\n")),
    "quoted": "\n".join(f"> {line}" for line in PRIVATE_KEY.split("\n")),
    "json": json.dumps({"private_key": PRIVATE_KEY}),
    "indented": "\n".join(f"        {line}" for line in PRIVATE_KEY.split("\n")),
    "comment": "\n".join(f"# {line}" for line in PRIVATE_KEY.split("\n")),
    "crlf": PRIVATE_KEY.replace("\n", "\r\n"),
    "two": PRIVATE_KEY.replace("\n", "\\n") + PRIVATE_KEY.replace("\n", "\\n"),
    "putty": "PuTTY-User-Key-File-3: ssh-rsa\nPrivate-Lines: 7\n" + "\n".join(KEY_LINES),
}


@pytest.mark.parametrize("writing", WRITINGS)
def test_private_keys_in_texts(writing):
    """B13: a private key goes from a text, however it is quoted."""
    shown = Redactor().text(WRITINGS[writing], "x")

    assert [line for line in KEY_LINES if line in shown] == []


# --- Time ------------------------------------------------------------------------------------------------------------

UNITS = [
    "curl -u a",
    "curl ",
    "login a password ",
    "machine a login b ",
    "cookie: a=",
    "authorization: bearer a,b=",
    "password ",
    "MNO.",
    "LS0tLS1CRUdJTi",
    "a.b-c_",
    "ghp_a",
    "hook",
    "hooks.slack.com/services/",
    "Private-Lines: 1\n",
    '"kty""d":"',
    "-us1",
    "s.",
    "SG.a",
    "0123456789abcdef",
    "eyJa.",
    "?key=a",
    ";password=",
    "secret_",
    "api_key: ",
    "$A$XX{a}",
    "xX*.",
]


@pytest.mark.parametrize("unit", UNITS)
def test_long_texts(unit):
    """B11: the new expressions are linear too: a quadratic one would never end here."""
    for start in ("", "curl ", "machine ", 'password="', "sk-"):
        Redactor().source(start + unit * (100_000 // len(unit)), "x")


@pytest.mark.parametrize("pattern", ["(a+)+", "(?:a*b?)*", r"(\w+\s?)+x", "((a{50}){50})", "(", "x" * 600])
def test_patterns_that_are_not_kept(pattern):
    """B12: what could take for ever, or is no pattern, is not kept in meta.json."""
    assert not is_bounded(pattern)
    assert storable([pattern]) == []


@pytest.mark.parametrize("pattern", [r"corp-\w+", "acme", r"(?:AB|CD)-\d{4,}", r"[a-z]+@corp\.example", r"ticket \d+ of (\w+)"])
def test_patterns_that_are_kept(pattern):
    """B12: usual patterns are kept."""
    assert storable([pattern]) == [pattern]
