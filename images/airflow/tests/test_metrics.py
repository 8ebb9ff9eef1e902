import asyncio
import time
from types import SimpleNamespace

import pytest

from airflow_platform import metrics, waits


class Trigger:
    """Something that waits."""


@pytest.fixture
def sent(monkeypatch):
    """The metrics that are sent."""
    found = []
    for kind in ("incr", "gauge"):
        monkeypatch.setattr(
            f"airflow.sdk.observability.stats.{kind}", lambda *words, **more: found.append((words, more))
        )
    return found


@pytest.mark.parametrize(
    ("name", "safe"),
    [
        ("ti.start,dag_id=a_b-c.d,queue=default", "ti.start,dag_id=a_b-c.d,queue=default"),
        ("ti.start,dag_id=käse:1|c", "ti.start,dag_id=k_se_1_c"),
    ],
)
def test_a_name_is_one_that_statsd_reads(name, safe):
    assert metrics.safe_name(name) == safe


def test_airflows_statsd_client_takes_the_name_through_it(monkeypatch):
    """The option is what Airflow calls for name and tags together."""
    from airflow._shared.observability.metrics.statsd_logger import SafeStatsdLogger

    told = []
    client = SimpleNamespace(incr=lambda *words: told.append(words))
    logger = SafeStatsdLogger(
        client, influxdb_tags_enabled=True, stat_name_handler=metrics.safe_name, statsd_influxdb_enabled=True
    )
    logger.incr("ti.start", tags={"dag_id": "käse"})
    assert told == [("ti.start,dag_id=k_se", 1, 1)]


def test_what_waits_is_counted_by_cause_and_what_has_gone_is_0_once(sent):
    one, other = Trigger(), Trigger()
    with waits.noted(one, "quota-full"), waits.noted(other):
        waits.note(other, "no-room")
        said = waits._report(set(), 0.25)
        assert ((metrics.LOOP_LAG, 0.25), {"tags": {"pod": metrics.pod()}}) in sent
        assert gauges(sent) == {"quota-full": 1, "no-room": 1}
        waits.note(other, "quota-full")
        said = waits._report(said, 0)
        assert gauges(sent) == {"quota-full": 2, "no-room": 0}
    said = waits._report(said, 0)
    assert gauges(sent) == {"quota-full": 0}
    assert waits._report(said, 0) == set()
    assert gauges(sent) == {}


def gauges(sent):
    found = {more["tags"]["cause"]: words[1] for words, more in sent if words[0] == metrics.WAITING}
    sent.clear()
    return found


def test_what_ends_by_an_error_waits_no_more(sent):
    with pytest.raises(ValueError), waits.noted(Trigger(), "no-room"):  # noqa: PT011
        raise ValueError
    assert waits._report(set(), 0) == set()


def test_a_loop_that_is_blocked_is_late(monkeypatch):
    monkeypatch.setattr(waits, "_LOOK", 0.02)

    async def blocked():
        asyncio.get_running_loop().call_later(0.05, time.sleep, 0.3)
        return await waits._lag(0.2)

    assert 0.2 <= asyncio.run(blocked()) < 2
