"""Rounds of the event loop, while many connections have something to say, or many tasks something to do."""

import asyncio
import socket
import sys
import threading
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


def test_whoever_has_slept_does_not_wait_for_all_who_have_something_to_do(short):
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


def test_an_answer_that_is_there_comes_before_its_timeout(short):
    async def answer():
        await asyncio.sleep(0)
        return "here"

    async def run():
        loop = asyncio.get_running_loop()
        for _ in range(MANY):
            loop.call_soon(time.sleep, 0.001)
        return await asyncio.wait_for(answer(), 0.02)

    assert asyncio.run(asyncio.wait_for(run(), 30)) == "here"


def test_a_timer_that_is_called_off_while_it_has_yet_to_have_its_turn_does_nothing(short):
    done = []

    async def run():
        loop = asyncio.get_running_loop()
        timer = loop.call_later(0.005, done.append, "timer")
        for _ in range(MANY // 2):
            loop.call_soon(time.sleep, 0.001)
        loop.call_soon(timer.cancel)
        for _ in range(MANY):
            await asyncio.sleep(0)

    asyncio.run(asyncio.wait_for(run(), 30))
    assert done == []


def test_all_that_was_to_be_done_is_done_before_the_loop_stops(short):
    done, loop = [], asyncio.new_event_loop()
    for number in range(MANY):
        loop.call_soon(done.append, number)
    loop.stop()
    loop.run_forever()
    loop.close()
    assert done == list(range(MANY))


def test_threads_are_heard_whenever_they_speak(short):
    """Each word of theirs: they are switched to between any two steps of the loop."""
    heard, threads, words = [], 4, 500

    async def run():
        loop = asyncio.get_running_loop()

        def speak():
            for number in range(words):
                loop.call_soon_threadsafe(heard.append, number)

        speaking = [threading.Thread(target=speak) for _ in range(threads)]
        for one in speaking:
            one.start()
        while any(one.is_alive() for one in speaking):
            await asyncio.sleep(0)
        # A round of each has passed then.
        for _ in range(threads * words):
            await asyncio.sleep(0)

    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        asyncio.run(asyncio.wait_for(run(), 60))
    finally:
        sys.setswitchinterval(interval)
    assert len(heard) == threads * words


def test_a_thread_is_heard(short):
    async def run():
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(None, lambda: "done")

    assert asyncio.run(asyncio.wait_for(run(), 30)) == "done"
