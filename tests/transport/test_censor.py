"""Credentials are taken out of texts before a line reaches its file, and nothing else is touched."""

from __future__ import annotations

import json

import pytest
from secrets_corpus import SECRETS

import mlv
from mlv.capture.redaction import Redactor
from mlv.encoding import DATA
from mlv.transport.censor import Censor

TOKEN = "hf_abcdefghij1234567890abcdefghij"


def message(data, type="message", name=""):
    """The text of an event from its type on."""
    about = f',"name":"{name}"' if name else ""
    return b'"type":"%s"%s,"data":%s}' % (type.encode(), about.encode(), json.dumps(data, separators=(",", ":")).encode())


@pytest.mark.parametrize("type", ["message", "run_ended", "rejected", "note"])
@pytest.mark.parametrize("data", [{"message": f"a\n{TOKEN}"}, {"extra": {"a": [TOKEN]}}, {"exception": {"message": TOKEN}}])
def test_texts(type, data):
    """A credential goes, wherever in the data it stands."""
    clean = Censor(Redactor()).payload(message(data, type))

    assert TOKEN.encode() not in clean
    assert json.loads(b"{" + clean)["type"] == type


UNTOUCHED = [message({"message": "nothing"}), message({"loss": 0.5}, "metrics"), message({"message": "sk-"})]


@pytest.mark.parametrize("payload", UNTOUCHED)
def test_the_rest_stays(payload):
    """What holds no credential, or is no text, is the same bytes."""
    assert Censor(Redactor()).payload(payload) is payload


def test_every_shape_is_glanced_at():
    """The glance finds the beginning of every credential that a closer look could find."""
    redactor = Redactor()

    assert [kind for kind, secret in SECRETS.items() if not redactor.may_find(secret.encode())] == []
    assert not redactor.may_find(b'[0.12345678901234567,{"loss":1732923456.123456789}]')


def test_exact_bytes_go_too():
    """A text that UTF-8 cannot hold is stored beside its bytes: they go with what they hold."""
    data = {"level": "info", "message": {"_mlv": "text", "text": f"\\ud800 {TOKEN}", "base64": "aGZfYWJj"}}

    assert json.loads(b"{" + Censor(Redactor()).payload(message(data)))["data"]["message"] == "\\ud800 <redacted>"


def test_a_stretch_of_the_same_metrics():
    """Events whose texts were all seen before are judged at once; one that holds more has each looked at."""
    censor, payloads = Censor(Redactor()), [b'{"loss":%d.5,"val/acc":null}' % i for i in range(20)]

    assert not censor.are_clean(payloads)  # the names are new
    for payload in payloads:
        assert censor.event(b"", DATA, payload)[1] is payload
    assert censor.are_clean(payloads)
    for text in (TOKEN, "new", 'loss"', "loss\\", "é"):
        assert not censor.are_clean([*payloads, json.dumps({"loss": text}).encode()])


def test_what_is_judged_at_once():
    """What is judged at once is what each event alone keeps as it is, whatever keys and texts there are."""
    hypothesis = pytest.importorskip("hypothesis")
    st = hypothesis.strategies
    texts = st.sampled_from(
        ["loss", "acc", ":", ",", "}{", "a b", 'a"b', "\\", "\n", "password", "base64", "é", "", TOKEN, "x" * 70]
    )
    values = st.one_of(st.integers(), st.floats(allow_nan=False, allow_infinity=False), st.none(), texts)
    data = st.dictionaries(texts, st.one_of(values, st.lists(values, max_size=2)), max_size=3)
    payloads = st.lists(
        data.map(lambda value: json.dumps(value, separators=(",", ":"), ensure_ascii=False).encode()), max_size=12
    )

    @hypothesis.settings(max_examples=300)
    @hypothesis.given(payloads, payloads)
    def check(seen, stretch):
        censor = Censor(Redactor())
        for payload in [*seen, *stretch[::2]]:
            censor.event(b"", DATA, payload)
        if censor.are_clean(stretch):
            assert [Censor(Redactor()).event(b"", DATA, payload)[1] for payload in stretch] == stretch

    check()


def test_own_patterns_and_exceptions():
    """The user's patterns count, and so do the exceptions."""
    redactor = Redactor(["plum-[0-9]+"], ["message"])

    assert b"plum" not in Censor(Redactor(["plum-[0-9]+"])).payload(message({"message": "plum-7"}))
    assert b"plum-7" in Censor(redactor).payload(message({"message": "plum-7"}))
    assert b"plum" not in Censor(redactor).payload(message({"of": "ra", "message": "plum-7"}, name="stdout"))


def test_a_key_in_many_lines():
    """A private key that is printed line by line goes as a whole, on its own descriptor, and what follows stays."""
    censor = Censor(Redactor())
    lines = ["before", "-----BEGIN PRIVATE KEY-----", "MIIEabcd+/12", "xyz=", "-----END PRIVATE KEY-----", "after"]

    def shown(line, name="stdout"):
        return json.loads(b"{" + censor.payload(message({"of": "ra", "message": line}, name=name)))["data"]["message"]

    found = [(shown(line), shown("beside", "stderr")) for line in lines]

    assert [line for line, _ in found] == [*lines[:2], "<redacted>", "<redacted>", "<redacted>", "after"]
    assert {line for _, line in found} == {"beside"}


@pytest.mark.parametrize("is_inline", [True, False])
@pytest.mark.parametrize("size", [0, 100_000])
def test_nothing_on_the_disk(tmp_path, monkeypatch, is_inline, size):
    """No file of an experiment holds a credential of a message, short or long, by the writer or without one."""
    monkeypatch.setenv("MLV_INLINE", "1" if is_inline else "")
    with mlv.Exp(tmp_path, "exp", capture=(), redact=["plum-[0-9]+"]) as exp:
        exp.log.info("x" * size + " %s plum-7", TOKEN, more={"a": [TOKEN]})
        exp.log.error("wrong step " + TOKEN, step="three")
    content = b"".join(path.read_bytes() for path in exp.path.rglob("*") if path.is_file())

    assert TOKEN.encode() not in content
    assert b"plum-7" not in content
    assert content.count(b"<redacted>") >= 3
