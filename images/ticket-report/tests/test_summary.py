"""The numbers on the page."""

from datetime import date, timedelta

import pandas as pd
import pytest

from ticket_report.summary import percent, summarise

DAY = date(2026, 1, 31)
BEFORE = DAY - timedelta(days=1)


def test_counts_and_shares(scored):
    numbers = summarise(DAY, scored(DAY, "negative positive negative negative"), scored(BEFORE, ""))
    assert numbers.tickets == 4
    assert numbers.counts.to_dict() == {"negative": 3, "neutral": 0, "positive": 1}
    assert numbers.shares.to_dict() == {"negative": 0.75, "neutral": 0, "positive": 0.25}


@pytest.mark.parametrize(
    ("earlier", "ends"),
    [
        ("", "were negative."),
        ("negative positive", "as in the days before."),
        ("positive positive positive positive", "50 points more than in the days before."),
        ("negative", "50 points less than in the days before."),
        (" ".join(["negative"] * 49 + ["neutral"] * 51), "1 point more than in the days before."),
    ],
)
def test_the_headline_compares_with_the_days_before(scored, earlier, ends):
    headline = summarise(DAY, scored(DAY, "negative positive"), scored(BEFORE, earlier)).headline
    assert headline.startswith("50% of 2 tickets were negative")
    assert headline.endswith(ends)


def test_days_without_tickets_are_gaps_of_zero(scored):
    three_before = DAY - timedelta(days=3)
    by_day = summarise(DAY, scored(DAY, "negative"), scored(three_before, "neutral neutral")).by_day
    assert by_day.sum(axis=1).tolist() == [2, 0, 0, 1]
    assert by_day["negative"].tolist() == [0, 0, 0, 1]
    assert by_day.index[0] == pd.Timestamp(three_before, tz="UTC")


def test_a_ticket_of_the_day_is_not_one_of_the_days_before(scored):
    numbers = summarise(DAY, scored(DAY, "negative"), scored(DAY, "negative"))
    assert numbers.by_day.sum(axis=1).tolist() == [1]
    assert numbers.usual_negative is None


def test_the_most_negative_channel_is_last(scored):
    today = pd.concat(
        [
            scored(DAY, "negative positive", prefix="a", channel="chat"),
            scored(DAY, "negative", prefix="b", channel="phone"),
            scored(DAY, "neutral", prefix="c", channel="web"),
        ]
    )
    numbers = summarise(DAY, today, scored(BEFORE, ""))
    assert numbers.by_channel.index.tolist() == ["web", "chat", "phone"]
    assert numbers.by_channel.loc["chat"].to_dict() == {"negative": 1, "neutral": 0, "positive": 1}


def test_the_worst_are_the_surest_negative_ones(scored):
    numbers = summarise(DAY, scored(DAY, "negative positive negative " + "negative " * 10), scored(BEFORE, ""))
    assert len(numbers.worst) == 8
    assert numbers.worst["subject"].tolist()[:2] == ["Subject 12", "Subject 11"]
    assert set(numbers.worst["sentiment"]) == {"negative"}


@pytest.mark.parametrize(("share", "text"), [(0, "0%"), (0.004, "0%"), (0.126, "13%"), (1, "100%")])
def test_percent(share, text):
    assert percent(share) == text
