"""Private keys that come line by line go as a whole, and what else is printed stays."""

from __future__ import annotations

import json

import pytest
from secrets_corpus import KEY_LINES, PRIVATE_KEY

from mlv.capture.redaction import Redactor
from mlv.transport.censor import Censor

LINES = PRIVATE_KEY.split("\n")
ENCODED = "LS0tLS1CRUdJTi" + "BSU0EgUFJJVkFURSBLRVktLS0tLQ" + "Ab1" * 12


def shown(lines):
    """What is left of lines, each with the descriptor that it is printed to."""
    censor = Censor(Redactor())
    found = []
    for line, name in lines:
        data = json.dumps({"of": "ra", "message": line})
        payload = censor.payload(f'"type":"message","name":"{name}","data":{data}}}'.encode())
        found.append(json.loads(b"{" + payload)["data"]["message"])
    return found


WRITINGS = {
    "plain": "{}",
    "pprint": "                '{}\\n'",
    "quoted": "> {}",
    "twice quoted": "> > {}",
    "comment": "# {}",
    "indented": "\t    {}",
    "string": '"{}\\n"',
    "list": "  '{}',",
    "carriage": "{}\r",
    "diff": "+{}",
    "logged": "2026-11-21 03:03:00,123 INFO root: {}",
    "numbered": "  12  {}",
    "table": "| {} |",
}


@pytest.mark.parametrize("writing", WRITINGS)
def test_writings(writing):
    """B13: a key goes line by line, however each line is quoted, and the lines around it stay."""
    lines = ["before", *(WRITINGS[writing].format(line) for line in LINES), "epoch 3: loss 0.25, next in 12 s"]
    found = shown([(line, "stdout") for line in lines])

    assert [line for line in KEY_LINES if line in "\n".join(found)] == []
    assert (found[0], found[-1]) == (lines[0], lines[-1])


def test_two_keys_in_turns():
    """B13: an end and a beginning on one line, lines to both descriptors in turns, and other lines between them."""
    first, second = LINES, [line.replace(KEY_LINES[0], KEY_LINES[0][::-1]) for line in LINES]
    joined = [*first[:-1], f"'{first[-1]}\\n{second[0]}\\n'", *second[1:]]
    mixed = [(line, ("stdout", "stderr")[number % 2]) for number, line in enumerate(joined)]
    with_others = [pair for line in mixed for pair in (line, ("step 3, loss 0.5", "stderr"))]
    found = shown(with_others)

    assert [line for line in (*KEY_LINES[:-1], KEY_LINES[0][::-1]) if line in "\n".join(found)] == []
    assert found.count("step 3, loss 0.5") == len(joined)


def test_a_key_in_base64():
    """B13: a key that is encoded once more and wrapped goes too."""
    assert not any("Ab1Ab1" in line for line in shown([(ENCODED, "stdout"), ("Ab1" * 20, "stdout"), ("Ab1" * 20, "stdout")]))


def test_a_second_look():
    """B13: what could not be written is looked at again as if for the first time, also by a writer that knows no beginning."""

    def masked(censor, lines):
        events = (json.dumps({"of": "ra", "message": line}) for line in lines)
        return b"".join(censor.payload(f'"type":"message","name":"stdout","data":{data}}}'.encode()) for data in events)

    censor = Censor(Redactor())
    masked(censor, LINES[:3])
    state = censor.state
    first = masked(censor, LINES[3:])
    censor.state = state

    assert masked(censor, LINES[3:]) == first
    assert KEY_LINES[3].encode() not in masked(Censor(Redactor(), is_resumed=True), LINES[3:])


@pytest.mark.parametrize("end", ["", "\\n", " is how a key begins"])
def test_a_mention_hides_little(end):
    """S9: a header without a key behind it does not hide what is printed next for long."""
    lines = ["-----BEGIN " + "PRIVATE KEY-----" + end, *(f"epoch {n}: loss 0.5" for n in range(20)), *(["word"] * 20)]
    found = shown([(line, "stdout") for line in lines])

    assert found == lines
