"""The guard in front of the page: who may ask, and the headers of every answer."""

from __future__ import annotations

import hmac
from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from typing import Any
from urllib.parse import urlsplit

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})
"""Host names that mean this machine."""
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:; media-src 'self'; "
    "connect-src 'self'; font-src 'self'; frame-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'self'; "
    "require-trusted-types-for 'script'"
)
"""The content security policy of the page."""
_HEADERS = {
    "content-security-policy": POLICY,
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",  # the address holds the secret
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "cache-control": "no-store",
}
"""Headers of an answer that does not set them itself."""
_MOST_AT_ONCE = 64


class Guard:
    """Lets requests through that have the secret in their path, and come from the page itself or from its reader."""

    def __init__(self, app: App, token: str, allowed_hosts: Iterable[str] = ()) -> None:
        self._app, self._token = app, token.encode()
        self._hosts = LOOPBACK | {host.lower().strip("[]") for host in allowed_hosts}
        self._running = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, or refuse it."""
        if scope["type"] != "http":
            return
        problem = self._problem(scope)
        if problem is not None:
            await _refuse(*problem, send)
            return
        if _raw_path(scope) == b"/" + self._token:  # the page's own addresses are relative to a folder
            query = b"?" + scope["query_string"] if scope.get("query_string") else b""
            await _refuse(308, "The address ends with a slash.", send, (b"location", b"/%s/%s" % (self._token, query)))
            return
        self._running += 1
        try:
            await self._app(self._within(scope), receive, _with_headers(send))
        finally:
            self._running -= 1

    def _problem(self, scope: Scope) -> tuple[int, str] | None:
        headers = {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in scope["headers"]}
        host = host_of(f"//{headers.get('host', '')}")
        if host not in self._hosts:
            return 403, "This host name is not allowed here: start `mlv ui` with --allow-host NAME."
        origin = headers.get("origin")
        is_foreign = origin is not None and origin.lower().partition("://")[2] != headers["host"].lower()
        # A link elsewhere may lead here; a script, a form or a picture elsewhere may not ask.
        is_link = scope["method"] == "GET" and headers.get("sec-fetch-mode") == "navigate"
        is_foreign |= headers.get("sec-fetch-site") in ("cross-site", "same-site") and not is_link
        # A browser names the site of every script that writes; a form elsewhere that names none must not.
        is_foreign |= scope["method"] == "POST" and origin is None
        if is_foreign:
            return 403, "Another site may not ask this server."
        first = _raw_path(scope).split(b"/")[1:2]
        if not first or not hmac.compare_digest(first[0], self._token):
            return 404, "There is nothing here without the secret that `mlv ui` prints."
        if scope["method"] not in ("GET", "HEAD", "POST"):
            return 405, "Only GET and POST are answered."
        if self._running >= _MOST_AT_ONCE:
            return 503, "Too many questions at once: ask again."
        return None

    def _within(self, scope: Scope) -> Scope:
        """Return the request without the secret in its path, so that nothing behind the guard can print it."""
        length = len(self._token) + 1
        return {**scope, "path": scope["path"][length:] or "", "raw_path": _raw_path(scope)[length:]}


def host_of(url: str) -> str | None:
    """Return the host name of an address, without its port; None where there is none."""
    try:
        return urlsplit(url).hostname
    except ValueError:
        return None


def _raw_path(scope: Scope) -> bytes:
    path: bytes = scope.get("raw_path") or scope["path"].encode()
    return path.partition(b"?")[0]


def _with_headers(send: Send) -> Send:
    async def sending(message: Message) -> None:
        if message["type"] == "http.response.start":
            own = {name.decode("latin-1").lower() for name, _ in message.get("headers", ())}
            more = [(name.encode(), value.encode()) for name, value in _HEADERS.items() if name not in own]
            message = {**message, "headers": [*message.get("headers", ()), *more]}
        await send(message)

    return sending


async def _refuse(status: int, sentence: str, send: Send, *more: tuple[bytes, bytes]) -> None:
    body = sentence.encode()
    headers = [(b"content-type", b"text/plain; charset=utf-8"), (b"content-length", str(len(body)).encode()), *more]
    send = _with_headers(send)
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
