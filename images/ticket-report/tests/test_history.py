"""Which scores the page shows."""

from datetime import timedelta

import pytest

from ticket_report.errors import BadInput
from ticket_report.history import read_day, read_earlier


def test_a_day_is_all_its_batches(client, scored):
    client.put(client.day, scored(client.day, "negative", prefix="a"), scored(client.day, "neutral", prefix="b"))
    assert read_day(client.root, client.day, 2)["sentiment"].tolist() == ["negative", "neutral"]


def test_a_part_of_an_earlier_run_in_more_batches_is_left_out(client, scored):
    client.put(client.day, scored(client.day, "negative"), scored(client.day, "neutral"))
    assert read_day(client.root, client.day, 1)["sentiment"].tolist() == ["negative"]


def test_a_missing_part_is_named(client, scored):
    client.put(client.day, scored(client.day, "negative"))
    with pytest.raises(BadInput, match=r"part-1.parquet; sentiment-score --batch 1 --of 2 has to run first"):
        read_day(client.root, client.day, 2)


def test_earlier_days_end_before_the_day_and_go_back_as_far_as_asked(client, scored):
    for back in (-1, 0, 1, 2, 3):
        day = client.day - timedelta(days=back)
        client.put(day, scored(day, "negative"))
    earlier = read_earlier(client.root, client.day, 3)
    assert sorted(earlier["id"]) == ["2026-01-29-0", "2026-01-30-0"]


def test_each_earlier_ticket_counts_once(client, scored):
    client.put(client.yesterday, scored(client.yesterday, "negative"), scored(client.yesterday, "neutral"))
    assert read_earlier(client.root, client.day, 30)["sentiment"].tolist() == ["negative"]


def test_no_earlier_day(client, scored, tmp_path):
    client.put(client.day, scored(client.day, "negative"))
    (tmp_path / "acme/notes").mkdir()
    assert read_earlier(client.root, client.day, 30).empty
