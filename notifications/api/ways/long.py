"""
SynchronousHandler: requests to the API pass through Django on one thread, without a hop.

Django's own ASGI handler takes the hooks of synchronous middleware, the view and the rendering
to a thread one by one, and makes a thread and a database connection for every request: that
costs more than the request itself. One notification with a token over 8 connections, by turns in
one run of five rounds (2026-11): 1.7 ms of processor time here, 5.7 by Django's handler, 3.0 by
a2wsgi around Django's WSGI handler; over one connection 2.1, 5.0 and 3.4.
"""

from __future__ import annotations

import gc
import os
import time
from concurrent.futures import ThreadPoolExecutor
from io import BytesIO
from typing import Any, Final

from asgiref.sync import sync_to_async
from django.core.exceptions import RequestAborted
from django.core.handlers.asgi import ASGIHandler, get_script_prefix
from django.core.signals import request_started
from django.http import HttpRequest, HttpResponseBase
from django.urls import set_script_prefix
from rest_framework.response import Response

from realtime.concurrency import keep_connections

#: How many requests are worked on at a time; the others wait.
THREADS: Final = 8

#: Python reads a body of JSON without a break, for 100 ms where it is 4 MB of small lists. Requests
#: with so large a body have one thread for all, which rests so many times as long as it worked:
#: eight threads held up the event loop, which needs the interpreter for each socket, for a second.
LARGE_BYTES: Final = 256 * 1024
RESTS: Final = 4


class SynchronousHandler(ASGIHandler):
    """
    Django's handler for synchronous views that do not stream.

    Requests pass through the same middleware as all others. Who hangs up does not stop
    the view: what it does is done or not, but never half.
    """

    def load_middleware(self, is_async: bool = False) -> None:
        super().load_middleware(is_async=False)

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        try:
            body = await self.read_body(receive)
        except RequestAborted:
            return
        await self.send_response(await self._respond(scope, body), send)

    async def read_body(self, receive: Any) -> BytesIO:
        """Read a body into memory: Django's own writes a large one to the disk, in the loop."""
        message = await receive()
        body = BytesIO(message.get("body", b""))  # most come whole
        body.seek(0, os.SEEK_END)
        while message["type"] != "http.disconnect" and message.get("more_body", False):
            message = await receive()
            body.write(message.get("body", b""))
        if message["type"] == "http.disconnect":
            raise RequestAborted
        body.seek(0)
        return body

    async def _respond(self, scope: Any, body: BytesIO) -> HttpResponseBase:
        large = body.seek(0, os.SEEK_END) >= LARGE_BYTES
        body.seek(0)
        work = self._respond_large if large else self._respond_sync
        threads = _large_thread if large else _threads
        return await sync_to_async(work, thread_sensitive=False, executor=threads)(scope, body)

    def _respond_large(self, scope: Any, body: BytesIO) -> HttpResponseBase:
        """Do as :meth:`_respond_sync`, without the garbage collector: JSON makes no cycles."""
        began = time.thread_time()
        gc.disable()
        try:
            return self._respond_sync(scope, body)
        finally:
            gc.enable()
            _large_thread.submit(time.sleep, RESTS * (time.thread_time() - began))

    def _respond_sync(self, scope: Any, body: BytesIO) -> HttpResponseBase:
        request, response = self.pass_through(scope, body)
        response.close()  # which ends the request for the database too
        body.close()
        _let_go(request, response)
        return response

    def pass_through(
        self, scope: Any, body: BytesIO
    ) -> tuple[HttpRequest | None, HttpResponseBase]:
        """Return what Django makes of a request, None if it can't be read, and its answer."""
        set_script_prefix(get_script_prefix(scope))
        request_started.send(sender=self.__class__, scope=scope)
        request, response = self.create_request(scope, body)
        if request is not None:
            # What comes in chunks has no length, by which Django and DRF know that there is a body.
            request.META["CONTENT_LENGTH"] = str(body.getbuffer().nbytes)
            response = self.get_response(request)
        assert response is not None  # it is the one or the other
        return request, response


def _let_go(*answered: object) -> None:
    """
    Let go of the body, and of what was read from it.

    Request, view and response refer to each other: they stay until the garbage collector comes,
    which may be hundreds of requests later.
    """
    for each in answered:
        if isinstance(each, HttpRequest):
            each.__dict__.pop("_body", None)
        elif isinstance(each, Response):
            each.data = None
            context = each.__dict__.pop("renderer_context", None) or {}
            if "request" in context:
                context["request"].__dict__.clear()


_threads: Final = ThreadPoolExecutor(
    THREADS, thread_name_prefix="notifications", initializer=keep_connections
)
_large_thread: Final = ThreadPoolExecutor(
    1, thread_name_prefix="notifications-large", initializer=keep_connections
)
