"""Rounds of the event loop, while many connections have something to say."""

import asyncio
import socket

import pytest

from airflow_platform import short_rounds

MANY = 100


@pytest.fixture
def policy():
    before = asyncio.get_event_loop_policy()
    yield
    asyncio.set_event_loop_policy(before)


def test_of_many_connections_few_are_heard_in_a_round_and_each_is(policy):
    short_rounds.use()
    heard, rounds, pairs = [], 0, [socket.socketpair() for _ in range(MANY)]

    async def listen():
        nonlocal rounds
        loop = asyncio.get_running_loop()
        for number, (reader, writer) in enumerate(pairs):
            writer.send(b"x")
            # It is not read: one that always has something to say keeps none of the others from being heard.
            loop.add_reader(reader, lambda number=number: heard.append((rounds, number)))
        while len({number for _, number in heard}) < MANY:
            await asyncio.sleep(0)
            rounds += 1
        for reader, _ in pairs:
            loop.remove_reader(reader)

    asyncio.run(asyncio.wait_for(listen(), 30))
    for one in (end for pair in pairs for end in pair):
        one.close()
    assert max(sum(when == one for when, _ in heard) for one in range(rounds)) <= short_rounds.AT_ONCE
    assert rounds <= 2 * MANY / short_rounds.AT_ONCE
