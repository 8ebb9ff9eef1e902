import time

import pytest

from airflow_platform import told
from airflow_platform.told import Told


@pytest.fixture
def clock(monkeypatch):
    """Sets the time."""
    now = [1000.0]
    monkeypatch.setattr(told.time, "time", lambda: now[0])

    def passes(seconds):
        now[0] += seconds

    return passes


def test_another_thing_is_said_at_once():
    said = Told()
    assert said.is_news("a", "one", None)
    assert not said.is_news("a", "one", None)
    assert said.is_news("b", "two", None)


def test_other_words_are_said_ever_more_rarely(clock):
    said, began = Told(), time.time()
    times = []
    for second in range(2000):
        if said.is_news("a", f"free {second}", began):
            times.append(second)
        clock(1)
    assert times[:5] == [0, 15, 30, 60, 120]
    assert times[-1] - times[-2] == 300


def test_the_same_words_are_not_said_again(clock):
    said = Told()
    said.is_news("a", "one", None)
    clock(10_000)
    assert not said.is_news("a", "one", None)


def test_what_was_said_by_another_before_counts(clock):
    said = Told("a", time.time())
    assert not said.is_news("a", "one", None)
    clock(15)
    assert said.is_news("a", "one", None)
    assert Told("a").is_news("a", "one", None)
