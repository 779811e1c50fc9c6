"""Tickets: ``POST /api/ticket``, with which a page opens a WebSocket that can't send headers."""

from __future__ import annotations

from typing import Any

from redis import RedisError
from rest_framework import status
from rest_framework.exceptions import NotAuthenticated, PermissionDenied, ValidationError
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from realtime.access.credentials import Login
from realtime.destinations.names import DestinationError
from realtime.layer import tickets

from .errors import RedisAway
from .schema import operations
from .serializers import TicketSerializer

#: How long a ticket is good.
SECONDS = 30


class TicketView(APIView):
    """
    Make a ticket for whoever is logged in: good once, for 30 seconds. Whoever comes in with it may
    stay until the login ends with which it was made.

    A page gives it as `?ticket=` to the WebSocket's URL, or to that of `/api/events`, or as header
    `ticket` of CONNECT.
    """

    def get_serializer(self, *args: Any, **kwargs: Any) -> TicketSerializer:
        """Return the serializer, for the forms of the browsable API too."""
        return TicketSerializer(*args, **kwargs)

    @operations.ticket
    def post(self, request: Request) -> Response:
        if not request.user.is_authenticated:
            raise NotAuthenticated
        until = _until(request)
        serializer = self.get_serializer(data=request.data)
        serializer.is_valid(raise_exception=True)
        destinations = serializer.validated_data.get("destinations", ())
        try:
            ticket = tickets.make(str(request.user.pk), destinations, SECONDS, until=until)
        except DestinationError as error:
            raise ValidationError({"destinations": [error.message]}) from None
        except RedisError:
            raise RedisAway from None
        return Response({"ticket": ticket, "seconds": SECONDS}, status=status.HTTP_201_CREATED)


def _until(request: Request) -> float:
    """
    Return when the login of a request ends: that of its ticket does, too.

    Raises:
        PermissionDenied: If it is a ticket itself: another one would outlive it, and its bounds.
    """
    login = request.auth
    if not isinstance(login, Login):
        return float("inf")
    if login.how == "ticket":
        raise PermissionDenied("a ticket makes no other tickets")
    return login.until
