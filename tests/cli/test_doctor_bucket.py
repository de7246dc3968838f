"""`mlv doctor URL` tries a bucket, and says for which uses it is safe."""

from __future__ import annotations

import json

import pytest

pytest.importorskip("obstore")


def test_a_folder_as_a_bucket(command, tmp_path):
    """All is safe there, and nothing is left."""
    shown = command("doctor", f"file://{tmp_path}/bucket")

    assert shown.returncode == 0
    assert [line.split()[0] for line in shown.stdout.splitlines()[-3:]] == ["ok"] * 3
    assert list((tmp_path / "bucket").rglob("*")) == []


def test_as_json(command, tmp_path):
    """The checks and the uses are data as well."""
    shown = json.loads(command("doctor", f"file://{tmp_path}/bucket", "--json").stdout)

    assert {check["verdict"] for check in shown["checks"]} == {"ok"}
    assert {check["part"] for check in shown["checks"]} == {"bucket"}
    assert shown["uses"] == {
        name: {"safe": True, "missing": []} for name in ("ship", "lake by one builder", "lake by several builders")
    }


def test_a_store_that_ignores_conditions(command, rclone):
    """Several builders are refused, with the reason; shipping is safe, so the exit status is 0."""
    shown = command("doctor", rclone.bucket().url)

    assert shown.returncode == 0
    assert "note  create twice    the second object replaces the first" in shown.stdout
    assert "note  lake by one builder       no: range" in shown.stdout
    assert "note  lake by several builders  no: range, create twice, create at once" in shown.stdout


@pytest.mark.parametrize(
    ("faults", "texts", "status"),
    [
        ({"fault": "denied", "kinds": ["LIST"]}, ["change  list", "AccessDenied: Access Denied", "ship  ", "no: list"], 1),
        ({"fault": "denied", "kinds": ["DELETE"]}, ["note  delete", "AccessDenied", "keeps all for good"], 0),
        ({"fault": "denied", "kinds": ["PUT"]}, ["change  create", "AccessDenied", "policy of the bucket"], 1),
        ({"fault": "expired"}, ["change  create", "ExpiredToken: The provided token has expired"], 1),
        ({"fault": "skewed"}, ["change  create", "RequestTimeTooSkewed", "The clock of this machine is more than 15"], 1),
        ({"clock_s": 1230.0}, ["change  clock", "differs by 20 min", "NTP"], 1),
        ({"fault": "503"}, ["change  create", "SlowDown"], 1),
        ({"fault": "full"}, ["change  create", "InsufficientStorage"], 1),
    ],
)
def test_trouble_is_named(command, far, faults, texts, status):
    """What the store said stands there, with what to do; the exit status is 1 where shipping is not safe."""
    bucket = far.bucket()
    far.set(**faults)

    shown = command("doctor", bucket.url)

    assert shown.returncode == status
    lines = " ".join(shown.stdout.split())
    assert [text for text in texts if " ".join(text.split()) not in lines] == []


def test_a_bucket_that_is_not_there(command, moto):
    """It is named."""
    shown = command("doctor", moto.reach("no-such-bucket").url)

    assert shown.returncode == 1
    assert "there is no such bucket; make it, or correct the URL" in " ".join(shown.stdout.split())


def test_wrong_credentials(command, azurite, monkeypatch):
    """The store's own word is told."""
    bucket = azurite.bucket()
    monkeypatch.setenv("AZURE_STORAGE_ACCOUNT_KEY", "d3Jvbmc=")

    shown = command("doctor", bucket.url)

    assert shown.returncode == 1
    assert "AuthorizationFailure" in shown.stdout


@pytest.mark.parametrize(
    ("url", "text"),
    [
        ("ftp://lab/runs", "none of s3://, gs://, az://, file://"),
        ("s3://", "names no bucket"),
        ("gs://lab?region=x", "no options"),
    ],
)
def test_urls_that_are_none(command, url, text):
    """They are refused as any other wrong argument."""
    shown = command("doctor", url)

    assert shown.returncode == 2
    assert text in shown.stderr
