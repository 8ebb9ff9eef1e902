"""What cleaning keeps, drops and counts."""

from datetime import UTC, datetime

import pandas as pd
import pytest

from ticket_extract.cleaning import clean, plain_text
from ticket_extract.parquet import SCHEMA, to_parquet


def tickets(*rows: dict) -> pd.DataFrame:
    base = {
        "created_at": datetime(2026, 1, 1, tzinfo=UTC),
        "customer": "Ann",
        "subject": "Help",
        "body": "It broke",
        "channel": "email",
        "label": None,
    }
    return pd.DataFrame([{"id": str(i), **base, **row} for i, row in enumerate(rows)])


@pytest.mark.parametrize(
    ("raw", "text"),
    [
        (None, ""),
        ("plain", "plain"),
        ("  two\n\n lines\t", "two lines"),
        ("<p>Dear&nbsp;team,</p><p>it &amp; that</p>", "Dear team, it & that"),
        ("<style>p {color: red}</style><script>alert(1)</script>Hi", "Hi"),
        ("one<br>two", "one two"),
        ("if 3 < 4 & 5 > 2", "if 3 < 4 & 5 > 2"),
        ("zero\u200bwidth\x00nul", "zero width nul"),
        ("cafe\u0301", "café"),
        ("<br> &nbsp; <br>", ""),
    ],
)
def test_plain_text(raw, text):
    assert plain_text(raw) == text


def test_empty_bodies_are_dropped_and_counted():
    kept, counts = clean(tickets({"body": "<br>"}, {"body": None}, {"body": "text"}))
    assert kept["body"].tolist() == ["text"]
    assert (counts.read, counts.empty, counts.kept) == (3, 2, 1)


def test_a_ticket_sent_twice_counts_once_and_the_first_stays():
    later = datetime(2026, 1, 1, 1, tzinfo=UTC)
    kept, counts = clean(tickets({"created_at": later}, {"body": "It  <b>broke</b>"}, {"customer": "Bob"}))
    assert kept["id"].tolist() == ["1", "2"]
    assert counts.same_text == 1


def test_an_id_seen_before_is_dropped():
    kept, counts = clean(tickets({"id": "7", "body": "a"}, {"id": "7", "body": "b"}))
    assert (len(kept), counts.same_id) == (1, 1)


def test_an_unknown_label_is_taken_away_and_the_ticket_stays():
    labels = ["positive", " Negative ", "angry", None, ""]
    kept, counts = clean(tickets(*({"label": label, "body": str(i)} for i, label in enumerate(labels))))
    assert kept["label"].where(kept["label"].notna(), None).tolist() == ["positive", "negative", None, None, None]
    assert counts.unknown_label == 1


def test_channels_are_spelt_alike():
    kept, _ = clean(tickets({"channel": "Web ", "body": "a"}, {"channel": None, "body": "b"}))
    assert kept["channel"].tolist() == ["web", "unknown"]


def test_no_ticket_at_all():
    kept, counts = clean(tickets({}).iloc[:0])
    assert (len(kept), counts.read, counts.kept) == (0, 0, 0)


def test_parquet_has_the_schema_whatever_the_tickets_hold():
    import pyarrow as pa
    import pyarrow.parquet as pq

    kept, _ = clean(tickets({"label": None}))
    read = pq.read_table(pa.BufferReader(to_parquet(kept)))
    assert read.schema.remove_metadata() == SCHEMA
    assert read["created_at"][0].as_py() == datetime(2026, 1, 1, tzinfo=UTC)
