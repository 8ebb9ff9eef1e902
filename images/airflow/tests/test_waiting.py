"""Tasks that wait for their pod, in a triggerer, with an API server that has quotas."""

import asyncio
import contextlib
import itertools
import time

import pytest
import structlog
from airflow.models.trigger import Trigger
from api_server import asynchronous, kubeconfig
from task_server import ago, instance, serve, until

from airflow_platform import told, waiting, waits
from airflow_platform.cluster import ClusterRef
from airflow_platform.waiting import WaitTrigger


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    """A line of its own for each test, in which a second is 50 ms."""
    for name in ("_PACE", "_LOOK", "_BLIND", "_ARRIVES", "_COUNT", "_FIRST", "_TELL"):
        monkeypatch.setattr(waiting, name, getattr(waiting, name) / 20)
    monkeypatch.setattr(told, "_SOONEST", told._SOONEST / 20)


@pytest.fixture
def lines():
    with structlog.testing.capture_logs() as entries:
        yield lambda: [entry["event"] for entry in entries]


@pytest.fixture
def line(tmp_path):
    """An API server, and what lets a task wait there; a task's event is (when, the event)."""

    @contextlib.asynccontextmanager
    async def line():
        async with serve(tmp_path) as (api, ref):
            tasks = []

            def wait(name, weight=None, **arguments):
                words = {"cluster": ref, "namespace": "team", "name": name, "seconds": 0, **arguments}
                trigger = WaitTrigger(**words)
                trigger.task_instance = instance()
                if weight is not None:
                    trigger.task_instance.priority_weight = weight

                async def event():
                    found = await anext(trigger.run())
                    return time.monotonic(), found.payload

                tasks.append(asyncio.ensure_future(event()))
                return tasks[-1]

            try:
                yield api, wait
            finally:
                for task in tasks:
                    task.cancel()
                await asyncio.wait(tasks)

    return line


def quota(used, hard=5, name="q"):
    return {
        "metadata": {"name": name, "namespace": "team"},
        "status": {"hard": {"pods": str(hard)}, "used": {"pods": str(used)}},
    }


FOR_A_POD = {"quota": "q", "requested": {"pods": "1"}}


async def gone(*tasks):
    return await asyncio.wait_for(asyncio.gather(*tasks), 15)


async def stays(*tasks, seconds=0.4):
    done, _ = await asyncio.wait(tasks, timeout=seconds)
    assert not done


@asynchronous
async def test_a_task_waits_while_its_quota_is_full_and_goes_when_there_is_room(line):
    async with line() as (api, wait):
        api.quotas = [quota(5), quota(0, name="another")]
        task = wait("a", attempt={"again": 2}, **FOR_A_POD)
        await stays(task)
        api.quotas = [quota(4)]
        ((_, payload),) = await gone(task)
        assert (payload["status"], payload["attempt"]["again"]) == ("relaunch", 2)


@asynchronous
async def test_one_that_no_quota_will_ever_admit_finds_out_and_holds_up_none(line):
    async with line() as (api, wait):
        api.quotas = [quota(5)]
        large = wait("large", quota="q", requested={"pods": "4"})
        small = wait("small", **FOR_A_POD)
        await stays(large, small)
        # Somebody has lowered it.
        api.quotas = [quota(2, hard=3)]
        await gone(large, small)


@asynchronous
async def test_what_a_task_waits_for_is_counted_until_it_goes(line):
    def causes():
        return sorted(waits._causes.values())

    async with line() as (api, wait):
        api.quotas = [quota(5)]
        tasks = [
            wait("a", **FOR_A_POD),
            wait("b", verdict={"cause": "namespace-ends"}, seconds=60),
            wait("c", seconds=60),
        ]
        await until(lambda: causes() == ["namespace-ends", "not-created", "quota-full"])
        api.quotas = [quota(4)]
        await gone(tasks[0])
        assert causes() == ["namespace-ends", "not-created"]
    assert causes() == []


@asynchronous
async def test_so_many_go_as_there_is_room_for(line):
    """Of pods that are about to be created, the quota does not know yet."""
    async with line() as (api, wait):
        api.quotas = [quota(3)]
        tasks = [wait(f"p{number}", **FOR_A_POD) for number in range(4)]
        await until(lambda: sum(task.done() for task in tasks) == 2)
        await stays(*(task for task in tasks if not task.done()), seconds=0.5)


@asynchronous
async def test_room_is_counted_again_once_the_pod_is_there_or_was_refused(line, monkeypatch):
    monkeypatch.setattr(waiting, "_ARRIVES", 60)
    async with line() as (api, wait):
        api.quotas = [quota(4)]
        await gone(wait("a", **FOR_A_POD))
        second = wait("b", **FOR_A_POD)
        await stays(second)
        # It is there, and the quota counts it; another one has ended.
        await api.run("a", "Running")
        await gone(second)
        third = wait("c", **FOR_A_POD)
        await stays(third)
        # The second was refused after all.
        again = wait("b", attempt={"first": 5}, **FOR_A_POD)
        await until(lambda: third.done() or again.done())


@asynchronous
async def test_of_a_quota_one_goes_at_a_time(line):
    async with line() as (api, wait):
        api.quotas = [quota(0, hard=100)]
        began = time.monotonic()
        found = await gone(*(wait(f"p{number}", **FOR_A_POD) for number in range(8)))
        times = sorted(at for at, _ in found)
        assert times[0] - began >= waiting._PACE
        assert all(later - before >= 0.8 * waiting._PACE for before, later in itertools.pairwise(times))
        # One question serves all.
        assert api.count("resourcequotas") <= 6


@asynchronous
async def test_triggerers_share_the_pace(line, write_config):
    write_config("triggerers: 4")
    async with line() as (api, wait):
        api.quotas = [quota(0)]
        (first, _), (second, _) = await gone(wait("a", **FOR_A_POD), wait("b", **FOR_A_POD))
        assert abs(second - first) >= 3 * waiting._PACE


@asynchronous
async def test_the_higher_priority_goes_first_and_then_who_came_first(line):
    async with line() as (api, wait):
        api.quotas = [quota(0)]
        names = {
            "young": wait("young", attempt={"first": 3}, **FOR_A_POD),
            "old": wait("old", attempt={"first": 1}, **FOR_A_POD),
            "high": wait("high", priority=2, attempt={"first": 4}, **FOR_A_POD),
        }
        await gone(*names.values())
        assert sorted(names, key=lambda name: names[name].result()[0]) == ["high", "old", "young"]


@asynchronous
async def test_the_weight_that_airflow_reckons_goes_before_the_tasks_own_priority(line):
    async with line() as (api, wait):
        api.quotas = [quota(0)]
        names = {
            "alone": wait("alone", weight=3, priority=3, attempt={"first": 1}, **FOR_A_POD),
            "unknown": wait("unknown", priority=4, attempt={"first": 3}, **FOR_A_POD),
            "with many behind": wait("many", weight=5, priority=1, attempt={"first": 4}, **FOR_A_POD),
        }
        await gone(*names.values())
        went = sorted(names, key=lambda name: names[name].result()[0])
        assert went == ["with many behind", "unknown", "alone"]


@pytest.fixture
def rounds(monkeypatch):
    """The line moves when the test says so, and then: which of these tasks have gone."""
    monkeypatch.setattr(waiting, "_PACE", 60)

    async def one(*tasks):
        await waiting._line()._let_go()
        for _ in range(20):
            await asyncio.sleep(0)
        return [task.done() for task in tasks]

    return one


def stand():
    """How many stand in the line."""
    return len(waiting._line()._places)


@asynchronous
async def test_those_of_a_cluster_that_is_away_go_one_by_one_and_hold_up_no_other(line, rounds, tmp_path):
    nowhere = ClusterRef(None, config_file=kubeconfig(tmp_path / "nowhere", "http://127.0.0.1:9"))
    async with line() as (api, wait):
        api.quotas = [quota(0), quota(0, name="r")]
        away = [wait(f"away{number}", cluster=nowhere, priority=2) for number in range(3)]
        others = [wait("p", **FOR_A_POD), wait("r", **FOR_A_POD | {"quota": "r"})]
        await until(lambda: stand() == 5)
        assert await rounds(*others, *away) == [True, True, True, False, False]
        assert await rounds(*away) == [True, True, False]


@asynchronous
async def test_many_that_an_outage_has_refused_are_soon_let_go(line, rounds):
    async with line() as (api, wait):
        tasks = [wait(f"p{number}", attempt={"first": 1 + number}) for number in range(12)]
        await until(lambda: stand() == 12)
        await api.until(lambda: api.watches)
        await until(lambda: all(place.watch.in_sync for place in waiting._line()._places))
        for number in (5, 10):
            assert await rounds(*tasks) == [True] * number + [False] * (12 - number)


@asynchronous
async def test_one_that_needs_much_is_not_passed_by_for_ever(line):
    async with line() as (api, wait):
        api.quotas = [quota(3)]
        much = wait("much", quota="q", requested={"pods": "3"}, attempt={"first": 1})
        little = wait("little", attempt={"first": 2}, **FOR_A_POD)
        other = wait("other", attempt={"first": 3})
        await gone(other)
        await stays(much, little)
        api.quotas = [quota(1)]
        (first, _), (second, _) = await gone(much, little)
        assert first < second


@pytest.mark.parametrize("status", [403, 500])
@asynchronous
async def test_where_a_quota_cannot_be_read_it_is_tried_from_time_to_time(line, status):
    async with line() as (api, wait):
        api.refuse["resourcequotas"] = status
        began = time.monotonic()
        ((at, _),) = await gone(wait("a", **FOR_A_POD))
        assert at - began >= waiting._BLIND
        # Of a kind that is no ResourceQuota of the namespace.
        api.refuse.clear()
        api.quotas = []
        began = time.monotonic()
        ((at, _),) = await gone(wait("b", **FOR_A_POD))
        assert at - began >= waiting._BLIND


@asynchronous
async def test_what_may_heal_is_tried_again_when_its_time_has_come(line):
    async with line() as (_, wait):
        began = time.monotonic()
        ((at, _),) = await gone(wait("a", seconds=0.5))
        assert at - began >= 0.5


@asynchronous
async def test_a_pod_that_is_being_deleted_is_waited_for(line, monkeypatch):
    monkeypatch.setattr(waiting, "_BLIND", 60)
    async with line() as (api, wait):
        pod = await api.run("a", "Running", metadata={"deletionTimestamp": ago(-20)})
        task = wait("a", seconds=0.2, gone=pod["metadata"]["uid"])
        await stays(task)
        await api.delete("a")
        await gone(task)


@asynchronous
async def test_a_pod_that_is_there_after_all_is_taken(line):
    """It was created, and the answer was lost."""
    async with line() as (api, wait):
        api.quotas = [quota(5)]
        task = wait("a", **FOR_A_POD)
        await stays(task, seconds=0.2)
        await api.run("a", "Running")
        await gone(task)


@asynchronous
async def test_a_task_whose_time_is_over_waits_no_longer(line):
    async with line() as (api, wait):
        api.quotas = [quota(5)]
        full = {"reason": "It is full.", "verdict": {"cause": "quota-full"}}
        ((_, payload),) = await gone(wait("a", deadline=time.time() + 0.3, **full, **FOR_A_POD))
        message = "execution_timeout has passed. It is full."
        assert payload == {"status": "timeout", "message": message, "waited": True, "verdict": {"cause": "quota-full"}}


@asynchronous
async def test_who_uses_the_quota_and_who_is_ahead_is_said_and_again_when_that_changes(line, lines):
    async with line() as (api, wait):
        api.quotas = [quota(5)]
        for number, dag_id in enumerate(["a", "a", "b"]):
            labels = {"kubernetes_pod_operator": "True", "dag_id": dag_id}
            await api.run(f"p{number}", "Running", metadata={"labels": labels})
        now = time.time()
        first = wait("first", attempt={"first": now}, **FOR_A_POD)
        wait("second", attempt={"first": now + 0.01}, **FOR_A_POD)

        def said(used, users, before):
            return (
                f"Quota q of namespace team is full ({used} of 5 pods used by {users}, 1 asked for); the task waits "
                f"until pods that it counts have ended, and {before} before it."
            )

        await until(lambda: said(5, "a (2) and b (1)", "1 task waits") in lines())
        assert said(5, "a (2) and b (1)", "no task waits") in lines()
        await asyncio.sleep(2 * waiting._TELL)
        assert len(lines()) == 2
        await api.run("p2", "Succeeded", 0)
        first.cancel()
        await until(lambda: said(5, "a (2)", "no task waits") in lines())


@asynchronous
async def test_what_was_said_before_the_last_try_is_not_said_again_at_once(line, lines):
    async with line() as (api, wait):
        api.quotas = [quota(5)]
        now = time.time()
        wait("a", attempt={"first": now, "told": now}, **FOR_A_POD)
        await asyncio.sleep(4 * waiting._FIRST)
        assert lines() == []


@asynchronous
async def test_when_it_was_said_is_known_to_the_next_try(line, lines):
    async with line() as (api, wait):
        api.quotas = [quota(5)]
        task = wait("a", attempt={"again": 2}, **FOR_A_POD)
        await until(lines)
        api.quotas = [quota(4)]
        ((_, payload),) = await gone(task)
        assert payload["attempt"].keys() == {"again", "told"}
        assert time.time() - payload["attempt"]["told"] < 5


@asynchronous
async def test_of_other_triggerers_it_is_not_known_who_is_ahead(line, lines, write_config):
    write_config("triggerers: 2")
    async with line() as (api, wait):
        api.quotas = [quota(5)]
        wait("first", attempt={"first": 1}, **FOR_A_POD)
        wait("second", attempt={"first": 2}, **FOR_A_POD)
        await until(lambda: any("at least 1 task waits before it" in said for said in lines()))


@asynchronous
async def test_of_a_quota_that_cannot_be_read_nothing_is_said(line, lines):
    async with line() as (api, wait):
        api.refuse["resourcequotas"] = 403
        task = wait("a", **FOR_A_POD)
        await gone(task)
        assert lines() == []


@asynchronous
async def test_who_leaves_is_not_waited_for(line):
    async with line() as (api, wait):
        api.quotas = [quota(5)]
        first = wait("first", attempt={"first": 1}, **FOR_A_POD)
        second = wait("second", attempt={"first": 2}, **FOR_A_POD)
        await stays(first, second, seconds=0.2)
        first.cancel()
        api.quotas = [quota(4)]
        await gone(second)


@asynchronous
async def test_a_cluster_that_is_not_known_is_no_reason_to_wait_for_ever(lines):
    trigger = WaitTrigger(ClusterRef(None, config_file="/nowhere"), "team", "a", seconds=0)
    assert (await anext(trigger.run())).payload["status"] == "relaunch"
    assert "cannot be asked" in lines()[0]


def test_a_stored_trigger_is_the_same():
    one = WaitTrigger(
        ClusterRef("other", in_cluster=False, context="c"), "team", "p", reason="full", seconds=3, quota="q",
        requested={"cpu": "2"}, gone="u", priority=4, deadline=5.5, attempt={"again": 1},
    )  # fmt: skip
    path, arguments = one.serialize()
    assert path == f"{WaitTrigger.__module__}.{WaitTrigger.__qualname__}"
    again = WaitTrigger(**Trigger._decrypt_kwargs(Trigger.encrypt_kwargs(arguments)), of_a_newer_release=1)
    assert again.serialize() == one.serialize()
