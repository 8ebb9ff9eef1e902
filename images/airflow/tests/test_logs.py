"""The reader of logs against a server that serves them as kubelet does (k8s.io/cri-client/pkg/logs, ReadLogs)."""

import asyncio
import contextlib
import random
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator
from datetime import datetime, timezone
from types import SimpleNamespace

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from airflow.providers.cncf.kubernetes.utils.pod_manager import PodManager

from airflow_platform import logs
from airflow_platform.cluster import Cluster, ClusterRef

POD = "/api/v1/namespaces/support/pods/report"
WAITING = (400, 'container "base" in pod "report" is waiting to start: ContainerCreating')


def stamp(seconds: float, nanoseconds: int = 0) -> str:
    """A time of a quiet afternoon, as kubelet writes it."""
    second = datetime.fromtimestamp(1_800_000_000 + int(seconds), timezone.utc)
    return f"{second:%Y-%m-%dT%H:%M:%S}.{round(seconds % 1 * 1e9) + nanoseconds:09}Z"


class Kubelet:
    """One container's log, and all that can happen to it."""

    def __init__(self) -> None:
        self.file: list[tuple[str, bytes]] = []
        self.running = True
        self.exists = True
        self.changed = asyncio.Condition()
        #: What is answered first, instead of the log: (status, message), or text for an error in the body.
        self.answers: list[tuple[int, str] | str] = []
        #: After how many bytes the next connections are cut, or end as if all was well.
        self.breaks: list[tuple[int, str]] = []
        #: How many bytes are written at once; None: a record.
        self.piece: Callable[[], int] | None = None
        #: Connections to come that take the request and never answer.
        self.mute = 0
        self.queries: list[dict[str, str]] = []
        self.open = 0

    async def print(self, *records: tuple[str, bytes]) -> None:
        self.file.extend(records)
        await self.notify()

    async def rotate(self) -> None:
        self.file = []
        await self.notify()

    async def end(self) -> None:
        self.running = False
        await self.notify()

    async def notify(self) -> None:
        async with self.changed:
            self.changed.notify_all()

    async def pod(self, request: web.Request) -> web.Response:
        return web.json_response({}) if self.exists else failure(404, 'pods "report" not found')

    async def log(self, request: web.Request) -> web.StreamResponse:
        self.queries.append(dict(request.query))
        await self.notify()
        if not self.exists:
            return failure(404, 'pods "report" not found')
        if self.answers:
            answer = self.answers.pop(0)
            return web.Response(text=answer) if isinstance(answer, str) else failure(*answer)
        self.open += 1
        try:
            return await self.serve(request)
        finally:
            self.open -= 1
            await self.notify()

    async def serve(self, request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        response.enable_chunked_encoding()
        await response.prepare(request)
        if self.mute:
            self.mute -= 1
            await asyncio.Event().wait()
        left, how = self.breaks.pop(0) if self.breaks else (sys.maxsize, "")
        async for data in self.body(request):
            for piece in self.pieces(data):
                await response.write(piece[:left])
                left -= len(piece)
                if left <= 0:
                    if how == "cut":
                        request.transport.close()
                    return response
        return response

    def pieces(self, data: bytes) -> Iterator[bytes]:
        while data:
            size = self.piece() if self.piece else len(data)
            yield data[:size]
            data = data[size:]

    async def body(self, request: web.Request) -> AsyncIterator[bytes]:
        # The API server hands sinceTime on in whole seconds.
        since = request.query.get("sinceTime", "")[:19]
        file, read, new_line = self.file, 0, True
        while True:
            while read < len(file):
                at, text = file[read]
                read += 1
                if at[:30] >= since:
                    yield at.encode() + b" " + text if new_line else text
                new_line = text.endswith(b"\n")
            if request.query.get("follow") != "true":
                return
            if file is not self.file:
                file, read = self.file, 0
            elif not self.running:
                return
            else:
                async with self.changed:
                    while file is self.file and read == len(file) and self.running:
                        await self.changed.wait()


def failure(status: int, message: str) -> web.Response:
    return web.json_response({"kind": "Status", "message": message, "code": status}, status=status)


class Reader:
    """A container that is followed."""

    def __init__(self, kubelet: Kubelet, cluster: Cluster) -> None:
        self.kubelet, self.cluster = kubelet, cluster
        self.emitted: list[tuple[str, str]] = []
        self.finished = asyncio.Event()
        self.grown = asyncio.Event()

    def start(self, **arguments) -> None:
        self.task = asyncio.create_task(
            logs.follow(
                self.cluster,
                "support",
                "report",
                "base",
                emit=lambda *line: self.emit(*line),
                finished=self.finished,
                **arguments,
            )
        )

    def emit(self, at: str, line: str) -> None:
        self.emitted.append((at, line))
        self.grown.set()

    @property
    def lines(self) -> list[str]:
        return [line for _, line in self.emitted]

    @property
    def notes(self) -> list[str]:
        return [line for line in self.lines if line.startswith(logs.NOTE)]

    async def until(self, count: int) -> list[str]:
        """The lines, once there are so many."""
        while len(self.emitted) < count:
            self.grown.clear()
            await self.grown.wait()
        return self.lines

    async def rest(self) -> list[str]:
        """The lines, after the container has ended."""
        await self.kubelet.end()
        self.finished.set()
        await self.task
        return self.lines


@contextlib.asynccontextmanager
async def container(**arguments) -> AsyncIterator[tuple[Kubelet, Reader]]:
    kubelet = Kubelet()
    app = web.Application()
    app.router.add_get(POD, kubelet.pod)
    app.router.add_get(f"{POD}/log", kubelet.log)
    async with asyncio.timeout(60), TestServer(app) as server:
        kubeconfig = {
            "current-context": "it",
            "contexts": [{"name": "it", "context": {"cluster": "it", "user": "it"}}],
            "clusters": [{"name": "it", "cluster": {"server": str(server.make_url("")).rstrip("/")}}],
            "users": [{"name": "it", "user": {}}],
        }
        cluster = await Cluster.get(ClusterRef(conn_id=None, kubeconfig=str(kubeconfig)))
        reader = Reader(kubelet, cluster)
        reader.start(**arguments)
        try:
            yield kubelet, reader
        finally:
            reader.task.cancel()
            await asyncio.gather(reader.task, return_exceptions=True)


@pytest.fixture(autouse=True)
def hurry(monkeypatch):
    """Attempts follow each other at once; what is tested is that they do."""
    for name, seconds in {"_FIRST": 0.001, "_WAITING": 0.001, "_FAILING": 0.1, "_ENDED": 0.001}.items():
        monkeypatch.setattr(logs, name, seconds)


def test_a_line_is_there_as_soon_as_it_is_printed():
    async def play():
        async with container() as (kubelet, reader):
            await kubelet.print((stamp(0), b"one\n"))
            assert await reader.until(1) == ["one"]
            await kubelet.print((stamp(1), b"two\n"))
            assert await reader.until(2) == ["one", "two"]
            assert reader.emitted[1] == (stamp(1), "two")
            assert len(kubelet.queries) == 1
            assert kubelet.queries[0] == {"container": "base", "timestamps": "true", "follow": "true"}

    asyncio.run(play())


@pytest.mark.parametrize("seed", range(25))
def test_every_line_comes_once_and_in_order_wherever_connections_break(seed, monkeypatch):
    """Equal times, times out of order, partial records, all kinds of text."""
    monkeypatch.setattr(logs, "MAX_LINE", 40)
    dice = random.Random(seed)
    texts = ["", "x", "ünïcödé 漢字 🚀", "10%\r20%\r30%", "y" * 100, "漢" * 30, "\x1b[31mred\x1b[0m", "  spaces  "]
    records, expected, now = [], [], 10.0
    for number in range(dice.randrange(1, 60)):
        now += dice.choice([0, 0, 0, 0.000001, 0.3, 1.1])
        # Two that print at once are stamped apart; else times repeat, as one read of a runtime stamps all its lines.
        at = stamp(now - 1e-7, number) if dice.random() < 0.3 else stamp(now)
        text = f"{number} {dice.choice(texts)}"
        expected.append((at, text))
        encoded = text.encode()
        while len(encoded) > 30 and dice.random() < 0.9:
            records.append((at, encoded[:30]))
            now += 0.4
            at, encoded = stamp(now), encoded[30:]
        records.append((at, encoded + b"\n"))

    async def play():
        async with container() as (kubelet, reader):
            size = sum(len(text) + 31 for _, text in records)
            kubelet.breaks = [(dice.randrange(1, size + 1), dice.choice(["cut", "cut", "end"])) for _ in range(6)]
            kubelet.piece = lambda: dice.randrange(1, 20)
            for record in records:
                await kubelet.print(record)
                await asyncio.sleep(0)
            await reader.rest()
            assert joined(reader.emitted) == expected

    asyncio.run(play())


def joined(emitted):
    """Pieces of lines put together."""
    whole = []
    for at, line in emitted:
        if line.startswith(logs.CONTINUED):
            whole[-1] = (whole[-1][0], whole[-1][1] + line.removeprefix(logs.CONTINUED))
        else:
            whole.append((at, line))
    return whole


def test_lines_of_one_time_and_text_are_counted():
    async def play():
        async with container() as (kubelet, reader):
            same = (stamp(1.5), b"same\n")
            kubelet.breaks = [(3 * len(f"{stamp(1.5)} same\n"), "cut")]
            await kubelet.print(same, same, same)
            await reader.until(2)
            await kubelet.print(same, (stamp(2.5), b"other\n"))
            assert await reader.rest() == ["same"] * 4 + ["other"]

    asyncio.run(play())


def test_a_reconnect_begins_near_the_last_line():
    async def play():
        async with container() as (kubelet, reader):
            await kubelet.print(*((stamp(second), b"old\n") for second in range(100)))
            await reader.until(100)
            await kubelet.print((stamp(100), b"new\n"))
            await reader.rest()
            assert kubelet.queries[1]["sinceTime"] == stamp(99)[:19] + "Z"

    asyncio.run(play())


def test_a_line_printed_late_with_an_earlier_time_is_not_lost():
    async def play():
        async with container() as (kubelet, reader):
            first = (stamp(5.000001), b"stderr\n")
            kubelet.breaks = [(len(f"{stamp(5)} stderr\n"), "cut")]
            await kubelet.print(first)
            await reader.until(1)
            await kubelet.print((stamp(4.999999), b"stdout\n"))
            assert await reader.rest() == ["stderr", "stdout"]

    asyncio.run(play())


def test_a_clock_set_back_loses_nothing():
    async def play():
        async with container() as (kubelet, reader):
            kubelet.breaks = [(3 * len(f"{stamp(0)} x\n"), "cut")]
            await kubelet.print((stamp(100), b"a\n"), (stamp(101), b"b\n"), (stamp(50), b"c\n"))
            await reader.until(3)
            await kubelet.print((stamp(51), b"d\n"))
            assert await reader.rest() == ["a", "b", "c", "d"]

    asyncio.run(play())


def test_rotation_under_a_stream_is_not_seen():
    async def play():
        async with container() as (kubelet, reader):
            await kubelet.print((stamp(0), b"one\n"))
            await reader.until(1)
            await kubelet.rotate()
            await kubelet.print((stamp(3), b"two\n"))
            assert await reader.until(2) == ["one", "two"]
            assert reader.notes == []

    asyncio.run(play())


@contextlib.asynccontextmanager
async def disconnected(kubelet):
    """Nothing can be read in here, and the stream that was open breaks."""
    kubelet.answers = [(500, "dial tcp: connection refused")] * 10_000
    file, kubelet.file = kubelet.file, []
    running, kubelet.running = kubelet.running, False
    await kubelet.notify()
    async with kubelet.changed:
        await kubelet.changed.wait_for(lambda: not kubelet.open)
    kubelet.file, kubelet.running = file, running
    yield
    kubelet.answers = []


def test_what_a_rotation_may_have_taken_is_said_where_it_would_be():
    async def play():
        async with container() as (kubelet, reader):
            await kubelet.print((stamp(0), b"one\n"), (stamp(1), b"two\n"))
            await reader.until(2)
            async with disconnected(kubelet):
                await kubelet.print((stamp(2), b"lost\n"))
                await kubelet.rotate()
                await kubelet.print((stamp(3), b"three\n"), (stamp(4), b"four\n"))
            lines = [line for line in await reader.rest() if "at the moment" not in line]
            assert lines[:2] + lines[3:] == ["one", "two", "three", "four"]
            assert f"Lines between {stamp(1)} and {stamp(3)} may be missing" in lines[2]

    asyncio.run(play())


@pytest.mark.parametrize(("started", "told"), [(None, False), (-59, False), (-61, True)])
def test_whoever_takes_a_log_over_says_where_it_begins_late(started, told):
    async def play():
        since = None if started is None else 1_800_000_000 + started
        async with container(started=since) as (kubelet, reader):
            await kubelet.print((stamp(0), b"one\n"), (stamp(100), b"two\n"))
            note = "[platform] If the container has printed lines before this one, its node has them no more"
            assert await reader.rest() == [note] * told + ["one", "two"]

    asyncio.run(play())


def test_a_rotation_that_took_only_what_was_read_is_no_loss():
    async def play():
        async with container() as (kubelet, reader):
            await kubelet.print((stamp(0), b"one\n"), (stamp(1), b"two\n"))
            await reader.until(2)
            async with disconnected(kubelet):
                await kubelet.rotate()
                await kubelet.print((stamp(1), b"two\n"), (stamp(2), b"three\n"))
            lines = await reader.rest()
            assert [line for line in lines if "at the moment" not in line] == ["one", "two", "three"]

    asyncio.run(play())


def test_a_log_that_is_away_at_the_end_is_said_to_be_incomplete():
    async def play():
        async with container() as (kubelet, reader):
            await kubelet.print((stamp(1), b"one\n"))
            await reader.until(1)
            async with disconnected(kubelet):
                await kubelet.rotate()
            assert (await reader.rest())[0] == "one"
            assert f"Lines after {stamp(1)} may be missing" in reader.lines[-1]

    asyncio.run(play())


def test_a_container_that_has_not_started_is_waited_for():
    async def play():
        async with container() as (kubelet, reader):
            kubelet.answers = [WAITING] * 3
            await kubelet.print((stamp(0), b"one\n"))
            assert await reader.until(1) == ["one"]
            assert not kubelet.answers

    asyncio.run(play())


def test_a_container_that_never_started_has_no_log():
    async def play():
        async with container() as (kubelet, reader):
            kubelet.answers = [WAITING] * 1000
            assert await reader.rest() == []

    asyncio.run(play())


def test_a_pod_without_a_node_has_an_empty_answer():
    async def play():
        async with container() as (kubelet, reader):
            kubelet.answers = [""] * 3
            await kubelet.print((stamp(0), b"one\n"))
            assert await reader.until(1) == ["one"]

    asyncio.run(play())


def test_a_pod_that_is_gone_ends_the_log():
    async def play():
        async with container() as (kubelet, reader):
            kubelet.breaks = [(len(f"{stamp(0)} one\n") + 1, "cut")]
            await kubelet.print((stamp(0), b"one\n"))
            await reader.until(1)
            kubelet.exists = False
            await kubelet.print((stamp(1), b"two\n"))
            await reader.task
            assert reader.lines[0] == "one"
            assert f"Lines after {stamp(0)} may be missing: the pod is gone" in reader.lines[-1]

    asyncio.run(play())


def test_a_pod_that_is_deleted_after_its_log_was_read_is_no_loss():
    async def play():
        async with container() as (kubelet, reader):
            await kubelet.print((stamp(0), b"one\n"), (stamp(1), b"without newline"))
            await reader.until(1)
            kubelet.exists = False
            await kubelet.end()
            await reader.task
            assert reader.lines == ["one", "without newline"]

    asyncio.run(play())


def test_a_pod_that_is_deleted_before_it_started_has_lost_nothing():
    async def play():
        async with container() as (kubelet, reader):
            kubelet.answers = [WAITING, (404, 'pods "report" not found')]
            async with kubelet.changed:
                await kubelet.changed.wait_for(lambda: kubelet.queries)
            kubelet.exists = False
            await reader.task
            assert reader.lines == []

    asyncio.run(play())


def test_a_kubelet_that_does_not_know_the_pod_yet_is_asked_again():
    async def play():
        async with container() as (kubelet, reader):
            kubelet.answers = [(404, 'pod "report" does not exist')] * 3
            await kubelet.print((stamp(0), b"one\n"))
            assert await reader.until(1) == ["one"]

    asyncio.run(play())


@pytest.mark.parametrize("answer", [(500, "dial tcp: i/o timeout"), (429, "too many requests"), (403, "may not")])
def test_a_failure_is_retried_and_said_once(answer, monkeypatch):
    monkeypatch.setattr(logs, "_FAILING", 0.004)

    async def play():
        async with container() as (kubelet, reader):
            kubelet.answers = [answer] * 8
            await kubelet.print((stamp(0), b"one\n"))
            lines = await reader.until(2)
            assert lines[1] == "one"
            assert answer[1] in lines[0]
            assert lines[0].startswith(logs.NOTE)

    asyncio.run(play())


def test_a_short_failure_is_not_worth_a_word(monkeypatch):
    monkeypatch.setattr(logs, "_FAILING", 0.004)

    async def play():
        async with container() as (kubelet, reader):
            kubelet.answers = [(500, "dial tcp: i/o timeout")] * 2
            await kubelet.print((stamp(0), b"one\n"))
            assert await reader.until(1) == ["one"]

    asyncio.run(play())


def test_a_connection_that_brings_something_is_no_failure():
    async def play():
        async with container() as (kubelet, reader):
            size = len(f"{stamp(0)} line\n")
            # Each reads the last line again, and a new one.
            kubelet.breaks = [(size, "cut")] + [(2 * size, "cut")] * 9
            await kubelet.print(*((stamp(10 * number), b"line\n") for number in range(11)))
            assert await reader.rest() == ["line"] * 11

    asyncio.run(play())


def test_an_error_in_the_body_is_not_a_line():
    async def play():
        async with container() as (kubelet, reader):
            kubelet.answers = ['failed to open log file "/var/log/pods/0.log": no such file or directory'] * 2
            await kubelet.print((stamp(0), b"one\n"))
            assert await reader.until(1) == ["one"]
            assert not kubelet.answers

    asyncio.run(play())


def test_an_error_in_the_body_that_stays_is_told(monkeypatch):
    monkeypatch.setattr(logs, "_REST", 0.05)

    async def play():
        async with container() as (kubelet, reader):
            kubelet.answers = ["unable to retrieve container logs for containerd://1234"] * 1000
            (line,) = await reader.rest()
            assert line.startswith(logs.NOTE)
            assert "unable to retrieve container logs" in line

    asyncio.run(play())


def test_an_end_that_cannot_be_read_is_given_up_with_a_word(monkeypatch):
    monkeypatch.setattr(logs, "_REST", 0.05)

    async def play():
        async with container() as (kubelet, reader):
            await kubelet.print((stamp(0), b"one\n"))
            await reader.until(1)
            async with disconnected(kubelet):
                reader.finished.set()
                await reader.task
            assert reader.lines[0] == "one"
            assert f"Lines after {stamp(0)} may be missing: the log could not be read to its end" in reader.lines[-1]
            assert "connection refused" in reader.lines[-1]

    asyncio.run(play())


def test_a_node_that_has_no_log_any_more_is_not_asked_again():
    async def play():
        async with container() as (kubelet, reader):
            reader.finished.set()
            kubelet.answers = [(400, 'container "base" in pod "report" is terminated')] * 2
            await reader.task
            assert len(kubelet.answers) == 1
            assert "is terminated" in reader.lines[0]

    asyncio.run(play())


def test_a_server_that_does_not_answer_at_the_end_is_given_up(monkeypatch):
    monkeypatch.setattr(logs, "_REST", 0.05)
    monkeypatch.setattr(logs, "_SILENCE_IN_REST", 0.02)
    monkeypatch.setattr(logs, "_SILENCE_AT_END", 0.02)

    async def play():
        async with container() as (kubelet, reader):
            kubelet.mute = 1000
            await reader.rest()
            (line,) = reader.lines
            assert line == f"{logs.NOTE}Lines may be missing: the log could not be read to its end: TimeoutError"

    asyncio.run(play())


def test_a_connection_that_fell_silent_is_opened_anew(monkeypatch):
    monkeypatch.setattr(logs, "_SILENCE", 0.02)

    async def play():
        async with container() as (kubelet, reader):
            kubelet.mute = 2
            await kubelet.print((stamp(0), b"one\n"))
            assert await reader.until(1) == ["one"]
            assert kubelet.mute == 0

    asyncio.run(play())


def test_a_silent_stream_that_brought_much_is_soon_opened_anew(monkeypatch):
    """Kubelet stays with a file that was rotated before it had read it."""
    monkeypatch.setattr(logs, "_SILENCE_AFTER_MUCH", 0.02)
    monkeypatch.setattr(logs, "_MUCH", 1000)

    async def play():
        async with container() as (kubelet, reader):
            await kubelet.print(*((stamp(0), b"much\n") for _ in range(1000)))
            await reader.until(1000)
            async with kubelet.changed:
                await kubelet.changed.wait_for(lambda: len(kubelet.queries) == 2)
            await kubelet.print((stamp(9), b"more\n"))
            assert (await reader.until(1001))[-1] == "more"
            # The new stream has brought nothing new before, so its silence is believed.
            assert len(kubelet.queries) == 2

    asyncio.run(play())


def test_an_end_that_is_known_is_not_waited_for(monkeypatch):
    """The stream ends, and then it is known that the container has: no pause follows."""
    monkeypatch.setattr(logs, "_ENDED", 3600)

    async def play():
        async with container() as (kubelet, reader):
            await kubelet.print((stamp(0), b"one\n"))
            await reader.until(1)
            assert await reader.rest() == ["one"]

    asyncio.run(play())


def test_a_stream_that_ends_again_and_again_is_opened_less_and_less(monkeypatch):
    """The container has ended, and the API server does not show it yet."""
    pauses = []

    async def pause(seconds, rest, finished):
        pauses.append(seconds)
        if len(pauses) == 5:
            await reader.kubelet.print((stamp(1), b"two\n"))
        if len(pauses) == 7:
            finished.set()

    monkeypatch.setattr(logs, "_ENDED", 1)
    monkeypatch.setattr(logs, "_STILL_ENDED", 7)
    monkeypatch.setattr(logs, "_pause", pause)

    async def play():
        nonlocal reader
        async with container() as (kubelet, reader):
            kubelet.running = False
            kubelet.file.append((stamp(0), b"one\n"))
            await reader.task
            assert reader.lines == ["one", "two"]

    reader = None
    asyncio.run(play())
    assert pauses == [1, 2, 4, 7, 7, 1, 2]


def test_a_stream_that_does_not_end_with_its_container_is_left():
    async def play():
        async with container() as (kubelet, reader):
            await kubelet.print((stamp(0), b"one\n"))
            await reader.until(1)
            # The container has ended, and kubelet is late to see it.
            kubelet.file.append((stamp(1), b"two\n"))
            reader.finished.set()
            await reader.task
            assert reader.lines == ["one", "two"]

    asyncio.run(play())


def test_a_container_that_ended_before_is_read_at_once():
    async def play():
        async with container() as (kubelet, reader):
            reader.finished.set()
            kubelet.file = [(stamp(0), b"one\n"), (stamp(0), b"two")]
            assert await reader.rest() == ["one", "two"]
            assert not any("follow" in query for query in kubelet.queries)

    asyncio.run(play())


@pytest.mark.parametrize(
    ("printed", "line"),
    [
        (b"\n", ""),
        (b"10%\r20%\r\n", "10%\r20%"),
        (b"\xff caf\xe9\n", "\\xff caf\\xe9"),
        (b"\x1b[1mbold\x1b[0m\n", "\x1b[1mbold\x1b[0m"),
        (b"no newline", "no newline"),
        (b"\x00\x0b\x0c\x85\xe2\x80\xa8|\n", "\x00\x0b\x0c\\x85\u2028|"),
    ],
)
def test_text_stays_as_it_is(printed, line):
    async def play():
        async with container() as (kubelet, reader):
            await kubelet.print((stamp(0), b"before\n"), (stamp(1), printed))
            assert await reader.rest() == ["before", line]

    asyncio.run(play())


@pytest.mark.parametrize(
    ("at", "told"),
    [
        ("2027-01-15T10:00:00.5+02:00", "2027-01-15T08:00:00.500000000Z"),
        ("2027-01-15T08:00:00Z", "2027-01-15T08:00:00.000000000Z"),
    ],
)
def test_times_of_nodes_elsewhere_become_utc(at, told):
    async def play():
        async with container() as (kubelet, reader):
            await kubelet.print((at, b"one\n"))
            await reader.rest()
            assert reader.emitted == [(told, "one")]

    asyncio.run(play())


def test_a_long_line_comes_in_pieces():
    async def play():
        async with container() as (kubelet, reader):
            text = "漢" * 50_000
            await kubelet.print((stamp(0), text.encode() + b"\n"), (stamp(1), b"next\n"))
            first, second, third, last = await reader.rest()
            assert last == "next"
            assert all(len(piece.encode()) <= logs.MAX_LINE + len(logs.CONTINUED) for piece in (first, second, third))
            assert first + second.removeprefix(logs.CONTINUED) + third.removeprefix(logs.CONTINUED) == text

    asyncio.run(play())


@pytest.mark.parametrize("size", [logs.MAX_LINE, logs.MAX_LINE + 1])
def test_only_what_is_too_long_is_cut(size):
    splitter = logs._Splitter()
    pieces = list(splitter.feed(stamp(0).encode() + b" " + b"x" * size + b"\n"))
    assert [len(text) for _, text, _ in pieces] == [logs.MAX_LINE, 1][: size - logs.MAX_LINE + 1]


def test_of_a_line_without_end_only_a_piece_is_held():
    splitter = logs._Splitter()
    chunk = b"x" * 30_000
    pieces = list(splitter.feed(stamp(0).encode() + b" "))
    for _ in range(1000):
        pieces += [len(text) for _, text, _ in splitter.feed(chunk)]
        assert len(splitter.rest) <= logs.MAX_LINE + 64
    assert pieces == [logs.MAX_LINE] * (30_000_000 // logs.MAX_LINE)


def test_of_a_log_without_end_only_so_much_is_emitted():
    async def play():
        async with container(max_bytes=1000) as (kubelet, reader):
            await kubelet.print(*((stamp(number), b"x" * 68 + b"\n") for number in range(30)))
            await reader.task
            assert len(reader.lines) == 11
            assert "kubectl logs --namespace support report --container base" in reader.lines[-1]
            assert stamp(9) in reader.lines[-1]

    asyncio.run(play())


def test_the_limit_holds_for_a_last_line_without_newline():
    async def play():
        async with container(max_bytes=32) as (kubelet, reader):
            await kubelet.print((stamp(0), b"x\n"), (stamp(1), b"y"))
            await reader.rest()
            assert reader.lines[0] == "x"
            assert "is cut off here" in reader.lines[1]

    asyncio.run(play())


def test_one_who_is_cancelled_leaves_no_connection():
    async def play():
        async with container() as (kubelet, reader):
            await kubelet.print((stamp(0), b"one\n"))
            await reader.until(1)
            reader.task.cancel()
            await asyncio.gather(reader.task, return_exceptions=True)
            await kubelet.print((stamp(1), b"two\n"))
            async with kubelet.changed:
                await kubelet.changed.wait_for(lambda: not kubelet.open)

    asyncio.run(play())


def test_much_text_needs_little_memory():
    line = b"x" * 100 + b"\n"
    count = 16 * 1024 * 1024 // len(line)
    seen = SimpleNamespace(lines=0, memory=0)

    def emit(at, text):
        seen.lines += 1
        if not seen.lines % 1000:
            seen.memory = max(seen.memory, resident())

    async def body(request):
        block = b"".join(stamp(0).encode() + b" " + line for _ in range(100))
        for _ in range(count // 100):
            yield block

    async def play():
        async with container() as (kubelet, reader):
            kubelet.body, reader.emit = body, emit
            reader.finished.set()
            before = resident()
            await reader.task
            assert seen.lines == count // 100 * 100
            assert seen.memory - before < 16 * 1024 * 1024

    asyncio.run(play())


def test_others_have_their_turn_while_much_is_emitted():
    turns = 0

    async def others():
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    def emit(at, line):
        until = time.monotonic() + 0.001
        while time.monotonic() < until:
            pass

    async def play():
        log = logs._Log(emit, logs.MAX_BYTES)
        log.begin()
        other = asyncio.create_task(others())
        await log.feed(b"".join(f"{stamp(number)} text\n".encode() for number in range(100)))
        other.cancel()
        assert turns >= 100 * 0.001 / logs._TURN / 2

    asyncio.run(play())


def resident() -> int:
    """Bytes of memory of this process."""
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * 4096


class Stock(PodManager):
    """The stock operator's reader, as far as it decides which containers it reads."""

    def __init__(self):
        super().__init__(kube_client=None)
        self.read, self.errors = [], []

    def read_pod(self, pod):
        return pod

    def fetch_container_logs(self, pod, container_name, **_):
        self.read.append(container_name)

    def _await_init_container_start(self, pod, container_name):
        pass


INIT = ["fetch", "unpack"]
MAIN = ["base", "proxy", "airflow-xcom-sidecar"]


@pytest.mark.parametrize(
    ("container_logs", "init_container_logs"),
    [
        ("base", None),
        ("proxy", "unpack"),
        (True, True),
        (["proxy", "base"], ["unpack", "fetch"]),
        (["base", "nobody"], ["nobody", "fetch"]),
        ("nobody", "nobody"),
        ("airflow-xcom-sidecar", None),
        (("base",), ("fetch",)),
    ],
)
def test_the_containers_are_those_that_the_stock_operator_reads(container_logs, init_container_logs):
    def named(names):
        return [SimpleNamespace(name=name) for name in names]

    stock = Stock()
    pod = SimpleNamespace(
        metadata=SimpleNamespace(name="report", namespace="support"),
        spec=SimpleNamespace(init_containers=named(INIT), containers=named(MAIN)),
    )
    if init_container_logs:
        stock.fetch_requested_init_container_logs(pod, init_container_logs)
    stock.fetch_requested_container_logs(pod, container_logs)
    asked = container_logs, init_container_logs, "base"
    assert logs.containers_to_follow(SPEC, *asked) == stock.read


SPEC = {"spec": {"initContainers": [{"name": name} for name in INIT], "containers": [{"name": name} for name in MAIN]}}


def test_by_default_it_is_the_base_container():
    assert logs.containers_to_follow(SPEC, None, None, "base") == ["base"]
    assert logs.containers_to_follow(SPEC, [], None, "base") == []


def test_a_pod_without_init_containers():
    assert logs.containers_to_follow({"spec": {"containers": [{"name": "base"}]}}, None, True, "base") == ["base"]


def test_names_that_the_pod_does_not_have_are_told():
    assert logs.unknown_containers(SPEC, ["base", "nobody"], "none", "base") == ["none", "nobody"]
    assert logs.unknown_containers(SPEC, None, True, "main") == ["main"]
    assert logs.unknown_containers(SPEC, True, None, "base") == []


@pytest.mark.parametrize("line", ["text", "ERROR: text", "::group::text", "::endgroup::", ""])
@pytest.mark.parametrize("prefix", [True, False])
def test_lines_look_as_the_stock_operator_logs_them(line, prefix, monkeypatch, capsys):
    said = []
    stock = Stock()
    monkeypatch.setattr(PodManager, "log", SimpleNamespace(log=lambda level, message: said.append(message)))
    stock._log_message(line, "base", prefix, None)
    said += capsys.readouterr().out.splitlines()
    assert [logs.formatted("base", line, prefix=prefix)] == said
