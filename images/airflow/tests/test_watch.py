import asyncio
import contextlib
import contextvars
import dataclasses
import gc
import json
import re
import time
import warnings

import pytest
from api_server import ApiServer, asynchronous, kubeconfig
from task_server import until

from airflow_platform import metrics
from airflow_platform import watch as module
from airflow_platform.cluster import ApiError, Cluster, ClusterRef
from airflow_platform.watch import PodWatch, Timing

#: Quick to notice and to try again; nothing is refused or left for good.
QUICK = Timing(serve=1, grace=0.2, answer=0.2, pause=0.05, lag=0.05, patience=60, linger=60)

LISTS, WATCHES, ASKS = r"pods\?label.*limit", "watch=true", r"pods/\w+$"


@pytest.fixture
def serve(tmp_path):
    """An API server, and a watch of it."""

    @contextlib.asynccontextmanager
    async def serve(timing=QUICK, **changes):
        async with ApiServer() as api:
            cluster = await Cluster.get(ClusterRef(None, config_file=kubeconfig(tmp_path / "kubeconfig", api.url)))
            yield api, PodWatch(cluster, "team", dataclasses.replace(timing, **changes))

    return serve


async def phase(feed):
    """The pod's next phase; None when it is gone."""
    pod = await feed.next(timeout=10)
    return pod and pod["status"]["phase"]


@asynchronous
async def test_a_follower_is_told_each_newer_state(serve):
    async with serve() as (api, watch):
        await api.put("a", "Pending")
        async with watch.follow("a") as feed:
            assert await phase(feed) == "Pending"
            await api.put("a", "Running")
            assert await phase(feed) == "Running"
            with pytest.raises(TimeoutError):
                await feed.next(timeout=0.01)
            await api.put("a", "Succeeded")
            assert await phase(feed) == "Succeeded"
        assert (api.count(LISTS), api.count(ASKS)) == (1, 0)


@asynchronous
async def test_a_slow_follower_is_told_the_latest_alone(serve):
    async with serve() as (api, watch), watch.follow("a") as slow, watch.follow("b") as other:
        for state in ("Pending", "Running", "Succeeded"):
            await api.put("a", state)
        await api.put("b")
        await phase(other)
        assert await phase(slow) == "Succeeded"
        with pytest.raises(TimeoutError):
            await slow.next(timeout=0.01)


@asynchronous
async def test_of_many_followers_whose_pods_change_at_once_few_go_on_in_a_round_of_the_loop(serve, monkeypatch):
    monkeypatch.setattr(module, "TURN", 0)
    async with serve() as (api, watch), contextlib.AsyncExitStack() as stack:
        names = [f"pod-{number}" for number in range(50)]
        for name in names:
            await api.put(name)
        feeds = [await stack.enter_async_context(watch.follow(name)) for name in names]
        following = [asyncio.create_task(feed.next(timeout=10)) for feed in feeds]
        most = before = 0
        while not all(one.done() for one in following):
            await asyncio.sleep(0)
            now = sum(one.done() for one in following)
            most, before = max(most, now - before), now
        assert most <= 2


@asynchronous
async def test_the_state_known_already_comes_at_once(serve):
    async with serve() as (api, watch), watch.follow("a") as first:
        await api.put("a", "Running")
        await phase(first)
        async with watch.follow("a") as second:
            assert (await second.next(timeout=0))["status"]["phase"] == "Running"


@asynchronous
async def test_a_pod_that_has_come_and_gone_is_told_to_who_knows_it(serve):
    """Its follower was on the way."""
    async with serve() as (api, watch), watch.follow("a") as other:
        await api.until(lambda: api.watches)
        uid = (await api.put("b", "Running"))["metadata"]["uid"]
        await api.put("b", "Failed")
        await api.delete("b")
        await api.put("a")
        await phase(other)
        async with watch.follow("b", uid) as late:
            assert await late.next(timeout=0) is None
            assert late.last["status"]["phase"] == "Failed"
        # Another pod of that name is not the one.
        async with watch.follow("b", "another") as late:
            with pytest.raises(TimeoutError):
                await late.next(timeout=0.01)


@asynchronous
async def test_a_pod_that_has_lost_its_label_has_not_gone(serve):
    async with serve() as (api, watch), watch.follow("a") as other:
        await api.until(lambda: api.watches)
        uid = (await api.put("b", "Running"))["metadata"]["uid"]
        await api.put("b", "Running", label=False)
        await api.put("a")
        await phase(other)
        async with watch.follow("b", uid) as late:
            assert await phase(late) == "Running"


@asynchronous
async def test_of_pods_that_have_gone_not_all_are_kept(serve, monkeypatch):
    monkeypatch.setattr(module, "UNFOLLOWED", 2)
    async with serve() as (api, watch), watch.follow("a") as other:
        await api.until(lambda: api.watches)
        for name in ("b", "c", "d"):
            await api.put(name)
            await api.delete(name)
        await api.put("a")
        await phase(other)
        assert [pod["metadata"]["name"] for pod in watch._gone.values()] == ["c", "d"]


@asynchronous
async def test_many_followers_share_one_watch(serve):
    async with serve(serve=10) as (api, watch), contextlib.AsyncExitStack() as stack:
        names = [f"p{number}" for number in range(50)]
        feeds = [await stack.enter_async_context(watch.follow(name)) for name in names]
        await api.until(lambda: api.watches)
        for name in names:
            await api.put(name, "Running")
        assert set(await asyncio.gather(*map(phase, feeds))) == {"Running"}
        assert (api.count(LISTS), api.count(WATCHES)) == (1, 1)


@asynchronous
async def test_one_watch_a_cluster_and_namespace(serve):
    async with serve() as (_, watch):
        shared = await PodWatch.get(watch.cluster, "team")
        assert await PodWatch.get(watch.cluster, "team") is shared
        assert await PodWatch.get(watch.cluster, "other") is not shared


@asynchronous
async def test_a_list_of_many_pods_comes_in_pages(serve, monkeypatch):
    monkeypatch.setattr(module, "PAGE", 2)
    async with serve() as (api, watch):
        for name in "abcde":
            await api.put(name, "Running")
        async with watch.follow("e") as feed:
            assert await phase(feed) == "Running"
        assert api.count("continue") == 2


@asynchronous
async def test_a_deleted_pod_is_gone_and_its_end_is_kept(serve):
    async with serve() as (api, watch):
        await api.put("a", "Running")
        async with watch.follow("a") as feed:
            await phase(feed)
            await api.put("a", "Failed", reason="Evicted")
            await api.delete("a")
            while await phase(feed):
                pass
            assert feed.last["status"] == {"phase": "Failed", "reason": "Evicted"}
            assert feed.last["metadata"]["deletionTimestamp"]
            again = await api.put("a", "Pending")
            assert (await feed.next(timeout=10))["metadata"]["uid"] == again["metadata"]["uid"]


@asynchronous
async def test_a_pod_deleted_by_force_is_gone(serve):
    async with serve() as (api, watch):
        await api.put("a")
        async with watch.follow("a") as feed:
            await phase(feed)
            await api.delete("a", graceful=False)
            assert await phase(feed) is None


@asynchronous
async def test_a_pod_that_loses_the_label_is_not_gone(serve):
    async with serve() as (api, watch):
        await api.put("a", "Running")
        async with watch.follow("a") as feed:
            await phase(feed)
            await api.put("a", "Running", label=False)
            assert await phase(feed) == "Running"
            await api.put("a", "Succeeded", label=False)
            assert await phase(feed) == "Succeeded"


@asynchronous
async def test_a_pod_that_never_was_is_asked_for_once(serve):
    async with serve(lag=0.2) as (api, watch), watch.follow("a") as feed:
        assert await phase(feed) is None
        with pytest.raises(TimeoutError):
            await feed.next(timeout=0.5)
        assert api.count(ASKS) == 1
        await api.put("a", "Pending")
        assert await phase(feed) == "Pending"


@asynchronous
async def test_a_watch_that_lags_is_overtaken(serve):
    async with serve(serve=10) as (api, watch), watch.follow("a") as feed:
        await api.until(lambda: api.watches)
        old = await api.put("a", "Pending", silent=True)
        await api.put("a", "Succeeded", silent=True)
        assert await phase(feed) == "Succeeded"
        # What the watch shows at last is older.
        await api.send(json.dumps({"type": "ADDED", "object": old}).encode() + b"\n")
        await api.put("a", "Failed")
        assert await phase(feed) == "Failed"


@asynchronous
async def test_an_answer_that_the_watch_has_overtaken_is_dropped(serve):
    async with serve(serve=10) as (api, watch), watch.follow("a") as feed:
        api.answer.clear()
        told = asyncio.create_task(phase(feed))
        await api.until(lambda: api.count(ASKS))
        await api.put("a", "Running")
        assert await told == "Running"
        api.answer.set()
        await api.until(lambda: api.at_once == 1)  # the watch
        with pytest.raises(TimeoutError):
            await feed.next(timeout=0.1)


@asynchronous
async def test_no_pod_is_asked_for_while_the_watch_is_away(serve):
    async with serve() as (api, watch):
        api.refuse["limit"] = 503
        await api.put("a", "Running")
        async with watch.follow("a") as feed:
            waiting = asyncio.create_task(phase(feed))
            await api.until(lambda: api.count(LISTS) > 5)
            assert api.count(ASKS) == 0
            api.refuse.clear()
            assert await waiting == "Running"


@pytest.mark.parametrize("expires_by", ["status", "event"])
@asynchronous
async def test_a_history_that_is_gone_is_listed_anew(serve, expires_by, caplog):
    async with serve() as (api, watch):
        api.expires_by = expires_by
        for name in "abcd":
            await api.put(name, "Running")
        async with contextlib.AsyncExitStack() as stack:
            feeds = [await stack.enter_async_context(watch.follow(name)) for name in "abcd"]
            assert [await phase(feed) for feed in feeds] == ["Running"] * 4
            await api.until(lambda: api.watches)
            await api.put("a", "Succeeded", silent=True)
            await api.delete("b", silent=True)
            await api.delete("c", silent=True)
            again = await api.put("c", "Pending", silent=True)
            await api.compact()
            assert [await phase(feed) for feed in feeds[:3]] == ["Succeeded", None, "Pending"]
            assert feeds[2].last["metadata"]["uid"] == again["metadata"]["uid"]
            assert feeds[1].last["status"]["phase"] == "Running"
            with pytest.raises(TimeoutError):
                await feeds[3].next(timeout=0.01)
        assert (api.count(LISTS), api.count(ASKS)) == (2, 1)


@asynchronous
async def test_a_watch_begins_anew_whatever_the_one_that_is_open_has_still_to_say(serve):
    async with serve() as (api, watch), watch.follow("a") as feed:
        await api.until(lambda: api.watches)
        watch.begin_anew()
        await api.put("a", "Running")
        assert await phase(feed) == "Running"
        await api.until(lambda: api.count(LISTS) == 2)


@asynchronous
async def test_a_watch_begins_anew_where_a_list_is_on_its_way(serve):
    async with serve() as (api, watch):
        api.open.clear()
        async with watch.follow("a"):
            await api.until(lambda: api.count(LISTS))
            watch.begin_anew()
            api.open.set()
            await api.until(lambda: api.watches)
            assert api.count(LISTS) == 2


@asynchronous
async def test_a_connection_that_breaks_goes_on_from_the_last_version(serve, caplog):
    caplog.set_level("INFO")
    async with serve() as (api, watch):
        await api.put("a", "Pending")
        async with watch.follow("a") as feed:
            await phase(feed)
            await api.put("a", "Running")
            await phase(feed)
            before = api.version
            await api.drop_watches()
            await api.put("a", "Succeeded")
            assert await phase(feed) == "Succeeded"
            assert api.count(f"resourceVersion={before}&") == 1
            assert api.count(LISTS) == 1
            said = [record.getMessage() for record in caplog.records if record.name == module.__name__]
            assert "pods in the namespace team of http://127.0.0.1" in said[0]
            assert "is interrupted" in said[0]
            assert said[1].endswith("is back.")


@asynchronous
async def test_an_interruption_is_counted_once_however_often_it_is_tried_again(serve, monkeypatch):
    counted = []
    monkeypatch.setattr(module.stats, "incr", lambda name, tags: counted.append((name, tags)))
    async with serve() as (_, watch):
        for error in (OSError("away"), module.ApiError(503, "ServiceUnavailable", "busy")):
            watch._failed(error)
        assert counted == [(metrics.WATCH_INTERRUPTED, {"namespace": "team", "status": "none"})]
        watch._recovered()
        watch._failed(module.ApiError(403, "Forbidden", "no"))
        assert counted[1:] == [(metrics.WATCH_INTERRUPTED, {"namespace": "team", "status": "403"})]


@asynchronous
async def test_a_bookmark_moves_the_version_on(serve):
    async with serve() as (api, watch), watch.follow("a"):
        await api.until(lambda: api.watches)
        await api.bookmark()
        await api.until(lambda: api.count(f"resourceVersion={api.version}&"))
        assert api.count(LISTS) == 1


@asynchronous
async def test_a_watch_that_dies_in_silence_is_noticed(serve):
    async with serve() as (api, watch):
        await api.put("a", "Running")
        async with watch.follow("a") as feed:
            await phase(feed)
            await api.until(lambda: api.watches)
            api.open.clear()
            await api.put("a", "Succeeded")
            # The first watch hangs, as do those that are tried after it, until the server is back.
            await api.until(lambda: api.count(WATCHES) > 3)
            assert not watch.in_sync
            with pytest.raises(TimeoutError):
                await feed.next(timeout=0.01)
            api.open.set()
            back = time.monotonic()
            assert await phase(feed) == "Succeeded"
            assert time.monotonic() - back < 2


@asynchronous
async def test_a_watch_that_does_not_begin_is_given_up(serve):
    async with serve(serve=60) as (api, watch), watch.follow("a") as feed:
        await api.until(lambda: api.watches)
        api.open.clear()
        await api.drop_watches()
        await api.until(lambda: api.count(WATCHES) > 3)
        api.open.set()
        await api.put("a", "Running")
        assert await phase(feed) == "Running"


@asynchronous
async def test_a_server_that_is_away_at_first_is_waited_for(serve):
    async with serve() as (api, watch):
        api.refuse["pods"] = 503
        await api.put("a", "Running")
        async with watch.follow("a") as feed:
            await api.until(lambda: api.count(LISTS) > 3)
            api.refuse.clear()
            assert await phase(feed) == "Running"


@asynchronous
async def test_a_watch_that_is_refused_for_long_is_told(serve, caplog):
    async with serve(patience=0.2) as (api, watch):
        api.refuse["watch=true"] = 403
        await api.put("a", "Running")
        async with watch.follow("a") as feed:
            assert await phase(feed) == "Running"
            began = time.monotonic()
            with pytest.raises(ApiError, match="403 Forbidden.* get, list and watch pods in the namespace team"):
                await feed.next(timeout=10)
            assert time.monotonic() - began >= 0.2
            assert len([record for record in caplog.records if record.name == module.__name__]) == 1
            api.refuse.clear()
            await api.until(lambda: api.watches)
            await api.put("a", "Succeeded")
            assert await phase(feed) == "Succeeded"


@pytest.mark.parametrize(
    ("rubbish", "lists"),
    [
        pytest.param(b"no json\n", 2, id="no JSON"),
        pytest.param(b'{"type": "ADDED", "object": {}}\n', 2, id="no pod"),
        pytest.param(b'{"type": "ERROR", "object": {}}\n', 2, id="an error without words"),
        pytest.param(b"x" * 3_000, 1, id="a line without end"),
    ],
)
@asynchronous
async def test_rubbish_is_survived(serve, rubbish, lists, monkeypatch):
    monkeypatch.setattr(module, "EVENT", 2_000)
    async with serve(serve=30) as (api, watch), watch.follow("a") as feed:
        await api.until(lambda: api.watches)
        await api.send(rubbish)
        await api.until(lambda: api.count(WATCHES) > 1)
        await api.put("a", "Running")
        assert await phase(feed) == "Running"
        assert api.count(LISTS) == lists


@asynchronous
async def test_an_event_may_come_in_pieces(serve):
    async with serve(serve=10) as (api, watch), watch.follow("a") as feed:
        await api.until(lambda: api.watches)
        pod = await api.put("a", "Running", silent=True, message="ü" * 50_000)
        line = json.dumps({"type": "ADDED", "object": pod}, ensure_ascii=False).encode() + b"\n"
        for start in range(0, len(line), 30_001):
            await api.send(line[start : start + 30_001])
        assert (await feed.next(timeout=10))["status"]["message"] == "ü" * 50_000


@asynchronous
async def test_what_no_follower_needs_is_not_kept(serve):
    async with serve() as (api, watch):
        container = {"name": "base", "image": "i", "resources": {"limits": {"memory": "1Gi"}}}
        environment = [{"name": "PASSWORD", "value": "secret"}]
        spec = {"nodeName": "n", "volumes": [{"name": "v"}], "containers": [{**container, "env": environment}]}
        await api.put("a", metadata={"managedFields": [{"manager": "kubelet"}]}, spec=spec)
        async with watch.follow("a") as feed:
            pod = await feed.next(timeout=10)
        assert set(pod["metadata"]) == {"name", "namespace", "uid", "resourceVersion", "labels"}
        assert pod["spec"] == {"nodeName": "n", "containers": [container]}


@asynchronous
async def test_of_pods_that_nobody_follows_the_latest_are_kept(serve, monkeypatch):
    monkeypatch.setattr(module, "UNFOLLOWED", 2)
    async with serve() as (api, watch):
        for name in "abcde":
            await api.put(name)
        async with watch.follow("a") as feed:
            await phase(feed)
            await api.until(lambda: api.watches)
            await api.put("b")
            await api.put("a", "Running")
            await phase(feed)
            assert sorted(watch._pods) == ["a", "b", "e"]
            async with watch.follow("c") as late:
                assert await phase(late) == "Pending"


@asynchronous
async def test_a_watch_that_is_kept_goes_on_without_followers(serve):
    async with serve(linger=0.05, serve=20) as (api, watch):
        watch.keep()
        async with watch.follow("p"):
            await api.until(lambda: api.watches)
        await api.put("q", "Running")
        await until(lambda: [pod["metadata"]["name"] for pod in watch.unfollowed()] == ["q"])
        await asyncio.sleep(0.2)
        assert watch.in_sync
        watch._stop()


@asynchronous
async def test_the_watch_ends_some_time_after_its_last_follower(serve):
    async with serve(linger=0.2, serve=20) as (api, watch):
        await api.put("a", "Running")
        async with watch.follow("a") as feed:
            await phase(feed)
            await api.until(lambda: api.watches)
        async with watch.follow("a") as feed:
            await feed.next()
            with pytest.raises(TimeoutError):
                await feed.next(timeout=0.3)
            assert api.watches
        assert api.count(WATCHES) == 1
        await api.until(lambda: not api.watches)
        await api.put("a", "Succeeded")
        async with watch.follow("a") as feed:
            assert await phase(feed) == "Succeeded"
        assert api.count(LISTS) == 2


@asynchronous
async def test_the_watch_runs_in_no_follower_s_context(serve):
    task_of_airflow = contextvars.ContextVar("task_of_airflow", default=None)
    seen = []
    async with serve() as (_, watch):
        watch._list = lambda: seen.append(task_of_airflow.get()) or asyncio.Event().wait()
        task_of_airflow.set("a")
        async with watch.follow("a"):
            while not seen:
                await asyncio.sleep(0)
    assert seen == [None]


def test_a_watch_ends_cleanly_with_the_event_loop(serve, caplog):
    async def use():
        async with serve() as (api, watch):
            follower = asyncio.create_task(follow(watch))
            await api.until(lambda: api.watches)
            return follower

    async def follow(watch):
        async with watch.follow("a") as feed:
            await feed.next()

    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        asyncio.run(use())
        gc.collect()
    assert [str(warning.message) for warning in caught if issubclass(warning.category, ResourceWarning)] == []
    assert not re.search("Unclosed|was destroyed|never retrieved", caplog.text)
