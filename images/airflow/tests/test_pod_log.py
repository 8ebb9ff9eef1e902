import asyncio
import contextlib
import logging
from datetime import datetime, timedelta, timezone

import pytest
import structlog
from api_server import asynchronous

from airflow_platform import logs, pod_log
from airflow_platform.masks import Masks
from airflow_platform.pod_log import PodLog

RUNNING, ENDED = {"running": {}}, {"terminated": {"exitCode": 0}}


@pytest.fixture
def entries():
    with structlog.testing.capture_logs() as entries:
        yield entries


class Containers:
    """Containers whose lines the test says; each says "end" when it has ended, and then its reader returns."""

    def __init__(self):
        self.opened, self.closed, self.emits, self.late, self.started = [], [], {}, set(), {}

    async def follow(self, cluster, namespace, pod, container, *, emit, finished, started):
        self.opened.append(container)
        self.started[container] = started
        self.emits[container] = emit
        try:
            await finished.wait()
            if container in self.late:
                await asyncio.Event().wait()
            emit("2026-01-01T00:00:09Z", "end")
        finally:
            self.closed.append(container)

    def say(self, container, line, timestamp="2026-01-01T00:00:01Z"):
        self.emits[container](timestamp, line)


@pytest.fixture
def containers(monkeypatch):
    found = Containers()
    monkeypatch.setattr(logs, "follow", found.follow)
    return found


def log_of(containers="base", init_containers=None, prefix=True):
    words = {"base": "base", "containers": containers, "init_containers": init_containers, "prefix": prefix}
    masks = Masks(None, "team", "p")
    masks.known = True
    return PodLog(None, "team", "p", **words, masks=masks)


def pod(init=(), sidecar=None, **states):
    """A pod with a state for each container; ``init``: names of those that prepare it, and a sidecar among them."""
    main = [name for name in states if name not in init]
    return {
        "spec": {
            "containers": [{"name": n} for n in main],
            "initContainers": [{"name": n} | ({"restartPolicy": "Always"} if n == sidecar else {}) for n in init],
        },
        "status": {
            "containerStatuses": [{"name": n, "state": states[n]} for n in main],
            "initContainerStatuses": [{"name": n, "state": states[n]} for n in init],
        },
    }


async def turns():
    """Let everything go on that can."""
    for _ in range(10):
        await asyncio.sleep(0)


@asynchronous
async def test_a_log_is_opened_once_when_its_container_starts(containers):
    async with log_of() as log:
        log.follow(pod(base={"waiting": {}}))
        await turns()
        assert containers.opened == []
        for _ in range(3):
            log.follow(pod(base=RUNNING))
            await turns()
        assert containers.opened == ["base"]


@asynchronous
async def test_of_a_container_that_others_have_followed_it_is_known_since_when(containers):
    long_ago, just_now = (datetime.now(timezone.utc) - timedelta(seconds=seconds) for seconds in (600, 5))
    states = {name: {"running": {"startedAt": f"{at:%FT%TZ}"}} for name, at in (("base", long_ago), ("new", just_now))}
    async with log_of(containers=["base", "new"]) as log:
        log.follow(pod(**states))
        await turns()
        assert containers.started == {"base": int(long_ago.timestamp()), "new": None}


@asynchronous
async def test_the_end_of_the_context_closes_what_is_open(containers):
    with contextlib.suppress(ZeroDivisionError):
        async with log_of() as log:
            log.follow(pod(base=RUNNING))
            await turns()
            raise ZeroDivisionError
    assert containers.closed == ["base"]


@asynchronous
async def test_containers_that_were_asked_for_are_read_beside_each_other(containers):
    async with log_of(containers=True) as log:
        log.follow(pod(base=RUNNING, side=RUNNING))
        await turns()
        assert sorted(containers.opened) == ["base", "side"]


@asynchronous
async def test_an_init_container_is_read_to_its_end_before_what_it_prepares(containers, entries):
    async with log_of(init_containers=["prepare"]) as log:
        log.follow(pod(["prepare"], prepare=RUNNING, base={"waiting": {}}))
        await turns()
        containers.late.add("prepare")
        log.follow(pod(["prepare"], prepare=ENDED, base=RUNNING))
        await turns()
        assert containers.opened == ["prepare"]
        for stream in log._streams.values():
            if "prepare" in stream.get_name():
                stream.cancel()
        await turns()
        assert containers.opened == ["prepare", "base"]


@pytest.mark.parametrize("init", [["proxy", "migrate"], ["migrate", "proxy"]])
@asynchronous
async def test_nothing_waits_for_a_sidecar_among_the_init_containers(containers, entries, init):
    """It ends with the pod."""
    async with log_of(init_containers=True) as log:
        log.follow(pod(init, "proxy", proxy=RUNNING, migrate=ENDED, base=RUNNING))
        await turns()
        assert containers.closed == ["migrate"]
        assert containers.opened == [*init, "base"]


@asynchronous
async def test_a_container_that_ends_is_read_to_its_end_while_the_pod_goes_on(containers, entries):
    async with log_of(containers=True) as log:
        log.follow(pod(base=RUNNING, side=RUNNING))
        await turns()
        log.follow(pod(base=ENDED, side=RUNNING))
        await turns()
        assert containers.closed == ["base"]


@asynchronous
async def test_the_end_of_the_pod_is_the_end_of_all_logs(containers, entries):
    async with log_of(containers=True) as log:
        log.follow(pod(base=RUNNING, side=RUNNING))
        await turns()
        await log.finish(5)
        assert sorted(containers.closed) == ["base", "side"]
        assert sorted(entry["event"] for entry in entries) == ["[base] end", "[side] end"]


@asynchronous
async def test_a_log_that_does_not_end_holds_nothing_up_and_is_said(containers, entries):
    containers.late.add("base")
    async with log_of() as log:
        log.follow(pod(base=RUNNING))
        await turns()
        await log.finish(0.05)
    assert "The log of pod p did not end in time" in entries[-1]["event"]
    assert containers.closed == ["base"]


@asynchronous
async def test_a_long_log_is_read_for_as_long_as_lines_come(containers, entries):
    containers.late.add("base")
    async with log_of() as log:
        log.follow(pod(base=RUNNING))
        await turns()
        finishing = asyncio.ensure_future(log.finish(0.2))
        for number in range(4):
            await asyncio.wait([finishing], timeout=0.1)
            assert not finishing.done()
            log._emit("base", "2026-01-01T00:00:00Z", str(number))
        await finishing
    assert [entry["event"] for entry in entries][:4] == [f"[base] {number}" for number in range(4)]


@asynchronous
async def test_a_container_that_prints_without_end_is_left_after_a_while(containers):
    containers.late = {"base"}
    async with log_of() as log:
        log.follow(pod(base=RUNNING))
        await turns()

        async def print_on():
            while True:
                containers.say("base", "line")
                await asyncio.sleep(0.01)

        printing = asyncio.ensure_future(print_on())
        async with asyncio.timeout(10):
            await log.finish(0.2, at_most=0.5)
        printing.cancel()


@asynchronous
async def test_a_pod_without_logs_has_nothing_to_finish(containers):
    async with log_of(containers=[]) as log:
        log.follow(pod(base=RUNNING))
        await log.finish(5)
        assert containers.opened == []


@asynchronous
async def test_a_container_that_is_not_there_is_said_once(containers, entries):
    async with log_of(containers=["bse"]) as log:
        for _ in range(3):
            log.follow(pod(base=RUNNING))
    assert [entry["event"] for entry in entries] == ["There is no container bse in pod p: its log was asked for"]


@asynchronous
async def test_a_log_that_cannot_be_read_is_a_line_of_the_task(monkeypatch, entries):
    async def fails(*words, **more):
        raise RuntimeError("no")

    monkeypatch.setattr(logs, "follow", fails)
    async with log_of() as log:
        log.follow(pod(base=RUNNING))
        await log.finish(5)
    assert entries[-1]["event"] == "The log of container base could not be read further: no"


@pytest.mark.parametrize(
    ("line", "level"),
    [
        ("ERROR: no", logging.ERROR),
        ("[WARNING] hm", logging.WARNING),
        ("warn - hm", logging.WARNING),
        ("FATAL no", logging.CRITICAL),
        ("DEBUG x", logging.INFO),
        ("INFORMATION", logging.INFO),
        ("an ERROR: in the line", logging.INFO),
        ("", logging.INFO),
    ],
)
@asynchronous
async def test_a_lines_level_is_the_one_that_it_names(containers, monkeypatch, line, level):
    said = []
    monkeypatch.setattr(pod_log.log, "log", lambda *words, **more: said.append((words, more)), raising=False)
    async with log_of() as log:
        log.follow(pod(base=RUNNING))
        await turns()
        containers.say("base", line, "2026-01-01T00:00:01.5Z")
    assert said == [((level, f"[base] {line}"), {"timestamp": "2026-01-01T00:00:01.5Z"})]


@asynchronous
async def test_the_containers_name_may_be_left_out(containers, entries):
    async with log_of(prefix=False) as log:
        log.follow(pod(base=RUNNING))
        await turns()
        containers.say("base", "one")
    assert entries[0]["event"] == "one"
