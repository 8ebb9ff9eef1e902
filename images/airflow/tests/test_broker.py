import json
import time
from types import SimpleNamespace

import pytest

redis = pytest.importorskip("kombu.transport.redis")

from airflow_platform import broker  # noqa: E402


class Server:
    """In place of a client of Redis: lists, and the hash of what workers have."""

    def __init__(self, lists: dict, taken: list):
        self.lists, self.taken = lists, taken

    def llen(self, name):
        return len(self.lists.get(name, []))

    def lrange(self, name, first, last):
        assert (first, last) == (0, -1)
        return [json.dumps(one).encode() for one in self.lists.get(name, [])]

    def zrangebyscore(self, name, least, most):
        assert (name, most) == (redis.Channel.unacked_index_key, "+inf")
        return [tag for tag, (_, at) in enumerate(self.taken) if at >= least]

    def hmget(self, name, tags):
        assert name == redis.Channel.unacked_key
        return [json.dumps([self.taken[tag][0], "", "default"]).encode() for tag in tags]


class Channel(redis.Channel):
    def __init__(self, client):
        self.server = client

    def __del__(self):
        pass

    client = property(lambda self: self.server)


def app(lists, taken=()):
    class Connection:
        default_channel = Channel(Server(lists, list(taken)))

        def __enter__(self):
            return self

        def __exit__(self, *_):
            pass

    return SimpleNamespace(connection_for_write=Connection)


def message(task_id):
    return {"body": "W10=", "headers": {"id": task_id, "task": "execute_workload"}, "properties": {}}


def test_what_waits_and_what_a_worker_has():
    lists = {
        "default": [message("waits")],
        "default\x06\x163": [message("of low priority")],
        "of others": [message("x")],
    }
    # A message of Celery's own, to a worker: it is no task.
    now = time.time()
    taken = [(message("runs"), now), ({"body": "", "headers": {}}, now)]
    assert broker.ids(app(lists, taken), "default") == {"waits", "of low priority", "runs", None}


def test_what_a_killed_worker_has_taken_counts_for_a_while():
    taken = [(message("old"), time.time() - broker.TAKEN - 1), (message("late"), time.time() - broker.TAKEN + 5)]
    assert broker.ids(app({}, taken), "default") == {"late"}


def test_a_long_queue_is_not_read(monkeypatch):
    monkeypatch.setattr(broker, "AT_MOST", 1)
    assert broker.ids(app({"default": [message("1")]}), "default") == {"1"}
    assert broker.ids(app({"default": [message("1"), message("2")]}), "default") is None
