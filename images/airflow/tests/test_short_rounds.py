"""Rounds of the event loop, while many connections have something to say, or many tasks something to do."""

import asyncio
import socket
import time

import pytest

from airflow_platform import short_rounds

MANY = 100


@pytest.fixture
def short():
    before = asyncio.get_event_loop_policy()
    short_rounds.use()
    yield
    asyncio.set_event_loop_policy(before)


def test_of_many_connections_few_are_heard_in_a_round_and_each_is(short):
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


def test_a_timer_does_not_wait_for_all_who_have_something_to_do(short):
    done, before_timer = [], []

    async def work(number):
        for _ in range(3):
            await asyncio.sleep(0)
            time.sleep(0.001)
            done.append(number)

    async def run():
        loop = asyncio.get_running_loop()
        workers = [loop.create_task(work(number)) for number in range(MANY)]
        await asyncio.sleep(0)
        loop.call_later(0.001, lambda: before_timer.extend(done))
        await asyncio.gather(*workers)

    asyncio.run(asyncio.wait_for(run(), 30))
    # A round or two had passed, and not one of each worker.
    assert len(before_timer) <= 3 * short_rounds.AT_ONCE
    assert len(done) == 3 * MANY


def test_whoever_a_timer_wakes_does_not_either(short):
    done, late = [], []

    async def work(number):
        for _ in range(3):
            await asyncio.sleep(0)
            time.sleep(0.001)
            done.append(number)

    async def look():
        while len(done) < 3 * MANY:
            before = len(done)
            await asyncio.sleep(0.001)
            late.append(len(done) - before)

    async def run():
        await asyncio.gather(*(work(number) for number in range(MANY)), look())

    asyncio.run(asyncio.wait_for(run(), 30))
    # The first look has yet to begin among the workers.
    assert max(late) <= 3 * short_rounds.AT_ONCE
    assert len(done) == 3 * MANY


def test_timers_that_are_due_at_once_are_heard_in_turn(short):
    rounds, woken = 0, []

    async def sleep(number):
        await asyncio.sleep(0.05)
        woken.append((rounds, number))

    async def run():
        nonlocal rounds
        sleepers = [asyncio.create_task(sleep(number)) for number in range(MANY)]
        await asyncio.sleep(0)
        while len(woken) < MANY:
            await asyncio.sleep(0)
            rounds += 1
        await asyncio.gather(*sleepers)

    asyncio.run(asyncio.wait_for(run(), 30))
    assert [number for _, number in woken] == list(range(MANY))
    assert max(sum(when == one for when, _ in woken) for one in range(rounds + 1)) <= 2 * short_rounds.AT_ONCE


def test_whoever_was_ready_first_goes_first(short):
    order = []

    async def run():
        loop = asyncio.get_running_loop()
        for number in range(MANY):
            loop.call_soon(order.append, number)
        await asyncio.sleep(0)
        for number in range(MANY, 2 * MANY):
            loop.call_soon(order.append, number)
        while len(order) < 2 * MANY:
            await asyncio.sleep(0)

    asyncio.run(asyncio.wait_for(run(), 30))
    assert order == list(range(2 * MANY))


def test_a_thread_is_heard(short):
    async def run():
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(None, lambda: "done")

    assert asyncio.run(asyncio.wait_for(run(), 30)) == "done"
