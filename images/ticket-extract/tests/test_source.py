"""What is asked of PostgreSQL, and what its errors become."""

from datetime import UTC, datetime

import psycopg
import pytest

from ticket_extract import source
from ticket_extract.errors import BadInput, Unavailable

START, END = datetime(2026, 1, 1, tzinfo=UTC), datetime(2026, 1, 2, tzinfo=UTC)
DSN = "postgresql://acme:s3cret@db.example/tickets"


class Connection:
    """Takes the place of psycopg's: records the query, gives rows or raises."""

    def __init__(self, rows=(), error=None):
        self.rows, self.error = list(rows), error

    def __enter__(self):
        return self

    def __exit__(self, *_):
        pass

    def execute(self, query, parameters):
        self.query, self.parameters = query.as_string(None), parameters
        if self.error:
            raise self.error
        return self

    def fetchall(self):
        return self.rows


@pytest.fixture
def answer(monkeypatch):
    def connect_to(**how):
        connection = Connection(**how)
        monkeypatch.setattr(psycopg, "connect", lambda *_, **__: connection)
        return connection

    return connect_to


def test_rows_become_tickets_with_text_ids_and_utc(answer):
    from datetime import timedelta, timezone

    there = timezone(timedelta(hours=2))
    connection = answer(rows=[(5, datetime(2026, 1, 1, 2, tzinfo=there), "Ann", "Hi", "text", "email", None)])
    tickets = source.read_tickets(DSN, START, END)
    assert tickets.loc[0, "id"] == "5"
    assert tickets.loc[0, "created_at"].isoformat() == "2026-01-01T00:00:00+00:00"
    assert connection.parameters == [START, END]
    assert connection.read_only


@pytest.mark.parametrize("labelled", [False, True])
def test_labelled_tickets_alone(answer, labelled):
    connection = answer()
    source.read_tickets(DSN, START, END, labelled=labelled)
    assert ("AND label IS NOT NULL" in connection.query) is labelled


def test_no_rows_are_an_empty_frame(answer):
    answer()
    assert source.read_tickets(DSN, START, END).empty


def test_a_schema_is_quoted(answer):
    connection = answer()
    source.read_tickets(DSN, START, END, schema='ac"me')
    assert 'FROM "ac""me"."tickets"' in connection.query


@pytest.mark.parametrize(
    ("error", "becomes"),
    [
        (psycopg.errors.UndefinedTable('relation "tickets" does not exist'), BadInput),
        (psycopg.errors.InsufficientPrivilege("permission denied for table tickets"), BadInput),
        (psycopg.errors.AdminShutdown("terminating connection"), Unavailable),
    ],
)
def test_errors_of_the_query(answer, error, becomes):
    answer(error=error)
    with pytest.raises(becomes, match=str(error)):
        source.read_tickets(DSN, START, END)


@pytest.mark.parametrize(
    "dsn", ["mysql://acme:s3cret@db/x", "postgresql://acme:s3cret@[db/x", "postgresql://a:s3cret@db/x?s3cret"]
)
def test_a_wrong_url_is_refused_and_not_repeated(dsn):
    with pytest.raises(BadInput) as error:
        source.connect(dsn)
    assert "TICKETS_DSN" in str(error.value)
    assert "s3cret" not in str(error.value)


def test_a_server_that_is_not_there():
    with pytest.raises(Unavailable, match="no connection to PostgreSQL") as error:
        source.connect("postgresql://acme:s3cret@127.0.0.1:1/tickets")
    assert "s3cret" not in str(error.value)
    assert "\n" not in str(error.value)
