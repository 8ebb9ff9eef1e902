import asyncio
import os
import socket
import threading
import time

import pytest
import structlog
from airflow.sdk.execution_time import supervisor

from airflow_platform import log_channel

LINE = b"x" * 999 + b"\n"
#: More than a socket takes.
MANY = 2_000


@pytest.fixture
def ends(monkeypatch):
    """This process's channel, and the socket at its other end."""
    here, there = socket.socketpair()
    channel = log_channel.LogChannel(here.detach())
    monkeypatch.setattr(log_channel, "_channel", channel)
    monkeypatch.setattr(log_channel.atexit, "register", lambda function: None)
    there.settimeout(10)
    with channel, there:
        yield channel, there


def read(there, size):
    found = b""
    while len(found) < size and (part := there.recv(2**16)):
        found += part
    return found


def numbered():
    return [f"{number:0998}\n".encode() for number in range(MANY)]


def write_all(channel):
    for line in numbered():
        channel.write(line)


async def fill(channel):
    """Write more than the socket takes, with a loop that is gone then."""
    log_channel.attend()
    write_all(channel)


async def still_waits(waiting):
    """The task of a wait that is not over."""
    waiting = asyncio.create_task(waiting)
    done, _ = await asyncio.wait({waiting}, timeout=0.3)
    assert not done, "it did not wait"
    return waiting


def test_a_full_socket_holds_nobody_up(ends):
    channel, there = ends

    async def run():
        log_channel.attend()
        began = time.monotonic()
        write_all(channel)
        assert time.monotonic() - began < 5
        assert channel.sent < channel.written
        return await asyncio.to_thread(read, there, channel.written)

    assert asyncio.run(run()) == b"".join(numbered())
    assert channel.sent == channel.written


def test_before_there_is_a_loop_a_line_is_sent_at_once(ends):
    channel, there = ends
    reader = threading.Thread(target=read, args=(there, MANY * len(LINE)))
    reader.start()
    for _ in range(MANY):
        channel.write(LINE)
    assert channel.sent == channel.written
    reader.join(10)
    assert not reader.is_alive()


def test_lines_of_other_threads_are_whole(ends):
    channel, there = ends
    threads = [
        threading.Thread(target=lambda word=word: [channel.write(word * 999 + b"\n") for _ in range(MANY)])
        for word in (b"a", b"b")
    ]

    async def run():
        log_channel.attend()
        for one in threads:
            one.start()
        found = await asyncio.to_thread(read, there, 2 * MANY * 1000)
        return found.splitlines()

    lines = asyncio.run(run())
    assert len(lines) == 2 * MANY
    assert set(lines) == {b"a" * 999, b"b" * 999}


def test_what_is_left_is_sent_at_the_end(ends):
    channel, there = ends

    asyncio.run(fill(channel))
    assert channel.sent < channel.written
    found = []
    reader = threading.Thread(target=lambda: found.append(read(there, channel.written)))
    reader.start()
    channel.finish()
    reader.join(10)
    assert found == [b"".join(numbered())]


def test_the_end_does_not_wait_for_one_that_does_not_read(ends, monkeypatch):
    channel, _ = ends
    monkeypatch.setattr(log_channel, "_AT_END", 0.2)

    asyncio.run(fill(channel))
    began = time.monotonic()
    channel.finish()
    assert time.monotonic() - began < 5


def test_nothing_is_kept_for_a_process_that_is_gone(ends):
    channel, there = ends

    async def run():
        log_channel.attend()
        write_all(channel)
        there.close()
        for _ in range(100):
            await asyncio.sleep(0.01)
            if not channel._left:
                return
        pytest.fail("lines were kept")

    asyncio.run(run())


def test_a_reader_of_pods_waits_while_much_is_kept(ends):
    channel, there = ends

    async def run():
        log_channel.attend()
        await asyncio.wait_for(log_channel.room(), 5)
        write_all(channel)
        waiting = await still_waits(log_channel.room())
        await asyncio.to_thread(read, there, channel.written)
        await asyncio.wait_for(waiting, 5)

    asyncio.run(run())


def test_the_end_of_a_task_waits_until_its_log_has_been_read(ends):
    channel, there = ends

    async def run():
        log_channel.attend()
        channel.write(LINE)
        waiting = await still_waits(log_channel.handed_on())
        there.recv(2**16)
        await asyncio.wait_for(waiting, 5)

    asyncio.run(run())


def test_it_does_not_wait_for_what_others_write_after_it(ends):
    channel, there = ends

    async def run():
        log_channel.attend()
        channel.write(LINE)
        waiting = asyncio.create_task(log_channel.handed_on())
        await asyncio.sleep(0)
        for _ in range(MANY):
            channel.write(LINE)
        kept = channel.written - channel.sent
        assert kept > 0
        await asyncio.to_thread(read, there, channel.written // 2)
        await asyncio.wait_for(waiting, 5)

    asyncio.run(run())


def test_it_does_not_wait_for_one_that_does_not_read(ends):
    channel, _ = ends

    async def run():
        log_channel.attend()
        channel.write(LINE)
        await asyncio.wait_for(log_channel.handed_on(seconds=0.2), 5)

    asyncio.run(run())


def test_it_waits_longer_where_something_is_read_now_and_then(ends):
    channel, there = ends

    async def run():
        log_channel.attend()
        for _ in range(20):
            channel.write(LINE)
        waiting = asyncio.create_task(log_channel.handed_on(seconds=1))
        for _ in range(19):
            await asyncio.sleep(0.15)
            there.recv(len(LINE))
        assert not waiting.done()
        there.recv(len(LINE))
        await asyncio.wait_for(waiting, 5)

    asyncio.run(run())


def test_elsewhere_nothing_is_waited_for(monkeypatch):
    monkeypatch.setattr(log_channel, "_channel", None)
    log_channel.attend()
    asyncio.run(asyncio.wait_for(log_channel.handed_on(), 1))
    asyncio.run(asyncio.wait_for(log_channel.room(), 1))


def test_airflow_logs_by_it(monkeypatch):
    """In a process of its own, as all of its logging is set anew."""
    here, there = socket.socketpair()
    monkeypatch.setattr(supervisor, "_configure_logs_over_json_channel", supervisor._configure_logs_over_json_channel)
    log_channel.use()
    log_channel.use()
    if (child := os.fork()) == 0:
        supervisor._configure_logs_over_json_channel(here.detach())
        structlog.get_logger("task").info("a line", number=7)
        os._exit(0)
    here.close()
    with there:
        there.settimeout(10)
        found = read(there, 2**20)
    assert os.waitpid(child, 0)[1] == 0
    assert b'"event":"a line"' in found
    assert found.endswith(b"\n")
