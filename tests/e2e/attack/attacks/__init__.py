"""
Attacks: each is a function that goes on for ever, until it is cancelled.

It gets an :class:`.Attacker`, and does what somebody would who wants the most trouble for the
least effort: as much at once as is taken, and again as soon as it was cut off.
"""

from . import connections, frames, logins, requests, stomp_frames, topics
from .attack import ATTACKS, Attack, Attacker, Tally

__all__ = [
    "ATTACKS", "Attack", "Attacker", "Tally",
    "connections", "frames", "logins", "requests", "stomp_frames", "topics",
]  # fmt: skip
