"""Only the reader of the page is answered, and only with what an experiment says is its own."""

from __future__ import annotations

import os
import stat
from urllib.parse import quote

import pytest

import mlv
from mlv.web.token import state_folder, token
from tests.web.conftest import TOKEN

TRAVERSALS = [
    "../secret", "../../secret", "/etc/passwd", "//etc/passwd", "files/../../secret", "files/../meta.json",
    "files/../../../etc/passwd",
    "..", ".", "./", "", "files", "files/", "files/.", "files/..", "files/./notes.txt", "files//notes.txt", "./files/notes.txt",
    "%2e%2e/secret", "%252e%252e/secret", "..%2fsecret", "..%252fsecret", "files%2f..%2f..%2fsecret", "..\\secret",
    "files\\..\\..\\secret", "C:\\secret",
    "C:/secret", "file:///etc/passwd", "files/notes.txt\0.png", "files/\0", "~/secret",
    "files/~root", "meta.json", "log.jsonl", ".mlv/claims/log.json", ".mlv", "models/../../secret",
    "models/latest/../../../secret",
    "files/.../secret", "files/notes.txt/../../../secret", "files/notes.txt#", "files/notes.txt?x", "secret.txt", "files/link",
    "files/unnamed.txt",
]  # fmt: skip


def attached(client) -> tuple[str, str]:
    """Return the ID of the experiment with a file, and the file's path."""
    columns = client.get("api/index").json()["columns"]
    while not columns["id"] or columns["status"][0] == "":
        columns = client.get("api/index").json()["columns"]
    [folder] = [folder for folder in mlv.find(client.get("api/index").json()["root"]).paths if folder.name == "digits"]
    [path] = (folder / "files").rglob("*.txt")
    return columns["id"][columns["path"].index("digits")], path.relative_to(folder).as_posix()


@pytest.mark.parametrize("path", ["/", "/b/", f"/{'b' * 43}/api/index", f"/{TOKEN[:-1]}/", f"/{TOKEN}x/", f"//{TOKEN}/"])
def test_without_secret_there_is_nothing(client, path):
    """A wrong secret gets nothing, whatever is asked."""
    assert client.get(f"http://localhost{path}").status_code == 404


@pytest.mark.parametrize("host", ["evil.example", "localhost.evil.example", "127.0.0.1.evil.example", "10.0.0.1", "", "["])
def test_foreign_host_is_refused(client, host):
    """A name of another site that leads here (DNS rebinding) gets nothing."""
    assert client.get("api/index", headers={"host": host}).status_code == 403


@pytest.mark.parametrize(
    "headers",
    [
        {"origin": "http://evil.example"}, {"origin": "null"}, {"origin": "http://localhost:1"}, {"origin": "http://["},
        {"sec-fetch-site": "cross-site"}, {"sec-fetch-site": "same-site", "sec-fetch-mode": "no-cors"},
    ],
)  # fmt: skip
def test_foreign_site_is_refused(client, headers):
    """A page of another site may not ask, even if it has the secret."""
    assert client.get("api/index", headers=headers).status_code == 403


def test_address_without_its_last_slash(client):
    """An address without its last slash leads to the page, with its view; no answer leads away from the secret."""
    answer = client.get(f"http://localhost/{TOKEN}?sort=name", follow_redirects=False)

    assert (answer.status_code, answer.headers["location"]) == (308, f"/{TOKEN}/?sort=name")
    assert client.get("api/index/", follow_redirects=False).status_code == 404


def test_link_from_elsewhere_opens_the_page(client):
    """A link in a mail or on another site leads to the page."""
    headers = {"sec-fetch-site": "cross-site", "sec-fetch-mode": "navigate"}

    assert client.get("", headers=headers).status_code in (200, 503)


@pytest.mark.parametrize("path", ["", "api/index", "api/exp/none/file?path=x", "nowhere"])
def test_every_answer_has_the_headers(client, path):
    """Nothing is sent that a browser may take for another type, frame elsewhere, or tell of by its address."""
    headers = client.get(path).headers

    assert "default-src 'none'" in headers["content-security-policy"]
    assert "require-trusted-types-for 'script'" in headers["content-security-policy"]
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["referrer-policy"] == "no-referrer"


def test_named_file_is_sent(client):
    """A file that an event names is sent, whole or in part, in a sandbox."""
    identity, path = attached(client)

    whole = client.get(f"api/exp/{identity[:8]}/file", params={"path": path})
    part = client.get(f"api/exp/{identity}/file", params={"path": path}, headers={"range": "bytes=2-4"})
    again = client.get(f"api/exp/{identity}/file", params={"path": path}, headers={"if-none-match": whole.headers["etag"]})
    beyond = client.get(f"api/exp/{identity}/file", params={"path": path}, headers={"range": "bytes=10-"})

    assert (whole.status_code, whole.text) == (200, "0123456789")
    assert whole.headers["content-security-policy"].startswith("sandbox; default-src 'none'")
    assert (part.status_code, part.text, part.headers["content-range"]) == (206, "234", "bytes 2-4/10")
    changed = client.get(
        f"api/exp/{identity}/file", params={"path": path}, headers={"range": "bytes=2-4", "if-range": '"former"'}
    )

    assert again.status_code == 304
    assert (changed.status_code, changed.text) == (200, "0123456789")
    assert beyond.status_code == 416


@pytest.mark.parametrize("path", TRAVERSALS)
def test_no_other_file_is_sent(client, runs, path):
    """No path leads out of the experiment, to a file that no event names, or to one of the store."""
    identity, _ = attached(client)
    (runs / "secret").write_text("secret")
    (runs.parent / "secret").write_text("secret")
    (runs / "digits" / "files" / "unnamed.txt").write_text("secret")
    os.symlink(runs / "secret", runs / "digits" / "files" / "link")

    answers = [client.get(f"api/exp/{identity}/file?path={written}") for written in (quote(path), quote(quote(path)))]

    assert [answer.status_code for answer in answers] == [404, 404]
    assert all("secret\n" not in answer.text and answer.text != "secret" for answer in answers)


def test_secret_is_kept_for_its_owner_alone():
    """The address stays the same from start to start, until another is asked for; others cannot read it."""
    first = token()
    path = state_folder() / "ui-token"

    assert token() == first
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert token(new=True) != first


def test_secret_that_others_read_is_replaced():
    """A secret that was made readable for others is a secret no more."""
    first = token()
    (state_folder() / "ui-token").chmod(0o644)

    assert token() != first
