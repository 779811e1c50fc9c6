from __future__ import annotations

from typing import Any

from asgiref.sync import iscoroutinefunction
from django.core.exceptions import MiddlewareNotUsed
from servestatic.middleware import ServeStaticMiddleware


class StaticFilesMiddleware(ServeStaticMiddleware):
    """servestatic's, which can't be called from synchronous code: the API goes without it."""

    sync_capable = True

    def __init__(self, get_response: Any) -> None:
        if not iscoroutinefunction(get_response):
            raise MiddlewareNotUsed("the stack is synchronous")
        super().__init__(get_response)
