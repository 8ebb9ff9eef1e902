"""What the launcher's broker holds: a Redis or Valkey server, as kombu keeps messages there (kombu.transport.redis)."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from celery import Celery

#: With more messages than that in a queue none is looked at: each is some kilobytes.
AT_MOST = 1000
#: Seconds for which a message counts that a worker has taken: one that is killed acknowledges nothing, and a phase
#: tells Airflow that it has begun within that time, or finds no API server.
TAKEN = 180


def ids(app: Celery, queue: str) -> set[str] | None:
    """The ids of Celery's tasks that wait in a queue, or that a worker has taken from any of late and not acknowledged.

    A message that is just being taken is nowhere for a moment. None: there are over `AT_MOST` in the queue.

    Raises:
        Exception: kombu's or the client's own; the broker is away.
    """
    with app.connection_for_write() as connection:
        channel = connection.default_channel
        lists = [channel._q_for_pri(queue, step) for step in channel.priority_steps]
        if sum(map(channel.client.llen, lists)) > AT_MOST:
            return None
        waiting = [json.loads(one) for name in lists for one in channel.client.lrange(name, 0, -1)]
        late = channel.client.zrangebyscore(channel.unacked_index_key, time.time() - TAKEN, "+inf")
        held = channel.client.hmget(channel.unacked_key, late) if late else []
        # Each with the exchange and the key that it came by.
        taken = [json.loads(one)[0] for one in held if one]
    return {message["headers"].get("id") for message in [*waiting, *taken]}
