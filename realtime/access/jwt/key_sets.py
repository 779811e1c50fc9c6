"""KeySet: the keys that another service publishes as a JSON Web Key Set, in a file or at a URL."""

from __future__ import annotations

import logging
import math
import threading
import time
from http.client import HTTPException
from typing import Any, Final
from urllib.error import HTTPError
from urllib.parse import urlsplit
from urllib.request import HTTPRedirectHandler, Request, build_opener

from .keys import Key, keys_of_jwks

logger = logging.getLogger(__name__)

#: Seconds between two attempts to read the keys again: names of keys that somebody makes up must
#: not become requests; and where no keys are there at all yet.
REREAD_SECONDS: Final = 10.0
RETRY_SECONDS: Final = 1.0

#: How many may wait for a key server because they have a name of a key that nobody knows: who makes
#: up names must not take all the threads on which others log in.
MAX_WAITING: Final = 2

#: Seconds between two warnings that the keys can't be read.
WARNING_SECONDS: Final = 60.0

#: What a key server may take, and send.
TIMEOUT_SECONDS: Final = 5.0
MAX_BYTES: Final = 256 * 1024

_CHUNK: Final = 16 * 1024


class KeysUnavailable(Exception):
    """The keys could never be read, or are read just now, so no token can be judged now."""


class KeySet:
    """
    The keys of a source, which threads share.

    They are read when the first is asked for, when they are old, and when an unknown one is asked
    for. While the source fails, those that are known stay in use.

    Args:
        source: A path, or an http or https URL.
        cache_seconds: How long it is believed that they are the same.
    """

    def __init__(self, source: str, cache_seconds: float) -> None:
        self._source = source
        self._cache_seconds = cache_seconds
        self._keys: tuple[Key, ...] | None = None
        self._read_at = self._tried_at = self._warned_at = -math.inf
        self._reading = threading.Lock()
        self._waiting = threading.Semaphore(MAX_WAITING)

    def find(self, kid: str | None, algorithm: str) -> Key | None:
        """
        Return the key with this name and for this algorithm; without a name, the only one for it.

        Raises:
            KeysUnavailable: If none could be read so far, or others wait for one already.
        """
        if time.monotonic() - self._read_at >= self._cache_seconds:
            self._reread(wait=self._keys is None)
        key = self._pick(kid, algorithm)
        if key is None and not self._was_tried():
            self._look_for_more()
            key = self._pick(kid, algorithm)
        return key

    def _look_for_more(self) -> None:
        if not self._waiting.acquire(blocking=False):
            raise KeysUnavailable(f"the keys in {_shown(self._source)} are being read")
        try:
            self._reread(wait=True)
        finally:
            self._waiting.release()

    def _pick(self, kid: str | None, algorithm: str) -> Key | None:
        if self._keys is None:
            raise KeysUnavailable(f"the keys in {_shown(self._source)} can't be read")
        found = [
            key
            for key in self._keys
            if key.algorithm == algorithm and (kid is None or key.kid == kid)
        ]
        return found[0] if len(found) == 1 else None

    def _reread(self, wait: bool) -> None:
        """Read the source, unless that was tried lately, or a thread that is at it suffices."""
        if self._was_tried() or not self._reading.acquire(blocking=wait):
            return
        try:
            if not self._was_tried():
                self._read()
        finally:
            self._reading.release()

    def _was_tried(self) -> bool:
        pause = RETRY_SECONDS if self._keys is None else REREAD_SECONDS
        return time.monotonic() - self._tried_at < pause

    def _read(self) -> None:
        try:
            self._keys = keys_of_jwks(_read_source(self._source))
            self._read_at = time.monotonic()
        except (OSError, HTTPException, ValueError) as error:
            self._warn(error)
        finally:
            self._tried_at = time.monotonic()

    def _warn(self, error: Exception) -> None:
        if time.monotonic() - self._warned_at >= WARNING_SECONDS:
            self._warned_at = time.monotonic()
            logger.warning("the keys in %s can't be read: %s", _shown(self._source), error)


def check_source(source: str) -> str:
    """
    Return a path or a URL if keys can be there.

    Raises:
        ValueError: If it is a URL, but not one that is read.
    """
    if _is_url(source):
        parts = urlsplit(source)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ValueError("jwks has to be a path, or an http or https URL")
        if parts.username is not None:
            raise ValueError("the URL of jwks can't have a login")
    return source


def _is_url(source: str) -> bool:
    return "://" in source


def _shown(source: str) -> str:
    """Return a path or a URL without what may be secret."""
    return source.partition("?")[0] if _is_url(source) else source


def _read_source(source: str) -> bytes:
    if _is_url(source):
        return _read_url(source)
    with open(source, "rb") as file:
        return _bounded(file.read(MAX_BYTES + 1))


def _read_url(url: str) -> bytes:
    deadline = time.monotonic() + TIMEOUT_SECONDS
    request = Request(url, headers={"Accept": "application/json"})
    try:
        with _opener.open(request, timeout=TIMEOUT_SECONDS) as response:
            return _read_until(response, deadline)
    except HTTPError as error:
        error.close()
        raise OSError(f"the answer has the status {error.code}") from None


def _read_until(response: Any, deadline: float) -> bytes:
    """Return a body, however slowly it comes, but not later than the deadline."""
    data = b""
    while chunk := response.read1(_CHUNK):
        data = _bounded(data + chunk)
        if time.monotonic() > deadline:
            raise TimeoutError("the answer takes too long")
    return data


def _bounded(data: bytes) -> bytes:
    if len(data) > MAX_BYTES:
        raise ValueError(f"they are more than {MAX_BYTES} bytes")
    return data


class _SameScheme(HTTPRedirectHandler):
    """A redirection must not lead from https to http, nor anywhere else."""

    max_redirections = 3

    def redirect_request(
        self, req: Request, fp: Any, code: int, msg: str, headers: Any, newurl: str
    ) -> Request | None:
        if urlsplit(newurl).scheme != urlsplit(req.full_url).scheme:
            raise HTTPError(req.full_url, code, msg, headers, fp)
        return super().redirect_request(req, fp, code, msg, headers, newurl)


_opener: Final = build_opener(_SameScheme)
