"""The gateway's settings, with an outbox that ``manage.py bridge`` relays."""

from gateway.settings import *  # noqa: F403

STOMP_OUTBOX = ["default"]
STOMP_ROUTING = "tests.kit.outbox_routing"
