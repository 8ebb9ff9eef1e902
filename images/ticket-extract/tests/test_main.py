"""The command line: exit codes, what is written, what is said."""

from datetime import UTC, datetime

import pandas as pd
import pyarrow.parquet as pq
import pytest

from ticket_extract import source
from ticket_extract.__main__ import main
from ticket_extract.errors import Unavailable

DAY = ["--start=2026-01-31T00:00:00+00:00", "--end=2026-02-01T00:00:00+00:00"]


@pytest.fixture
def root(tmp_path, monkeypatch):
    monkeypatch.setenv("TICKETS_DSN", "postgresql://acme@db/tickets")
    return tmp_path / "acme"


@pytest.fixture
def database(monkeypatch):
    """Let the database hold these bodies; returns what it was asked for."""
    asked = []

    def holds(*bodies):
        def read_tickets(*arguments, labelled=False):
            asked.append((*arguments, labelled))
            made = [
                (
                    str(i),
                    datetime(2026, 1, 31, i, tzinfo=UTC),
                    "Ann",
                    "Hi",
                    body,
                    "chat",
                    "neutral" if labelled else None,
                )
                for i, body in enumerate(bodies)
            ]
            return pd.DataFrame(made, columns=source.COLUMNS)

        monkeypatch.setattr(source, "read_tickets", read_tickets)
        return asked

    return holds


def test_tickets_are_written_under_the_first_day_of_the_interval(root, database, capfd):
    asked = database("one", "two", " ")
    assert main([f"--root={root}", *DAY, "--schema=acme"]) == 0
    assert pq.read_table(root / "2026-01-31/tickets.parquet")["body"].to_pylist() == ["one", "two"]
    start, end = datetime(2026, 1, 31, tzinfo=UTC), datetime(2026, 2, 1, tzinfo=UTC)
    assert asked[0] == ("postgresql://acme@db/tickets", start, end, "acme", False)
    assert pq.read_table(root / "2026-01-31/tickets.parquet")["label"].null_count == 2


@pytest.mark.parametrize(
    ("days", "since"), [(30, datetime(2026, 1, 2, tzinfo=UTC)), (1, datetime(2026, 1, 31, tzinfo=UTC))]
)
def test_labelled_tickets_of_the_days_before_are_written_too(root, database, days, since):
    asked = database("one", "two", " ")
    assert main([f"--root={root}", *DAY, f"--label-days={days}"]) == 0
    assert asked[1][1:] == (since, datetime(2026, 2, 1, tzinfo=UTC), None, True)
    assert pq.read_table(root / "2026-01-31/labelled.parquet")["label"].to_pylist() == ["neutral", "neutral"]


def test_a_retry_writes_the_same_bytes(root, database):
    database("one", "two")
    file = root / "2026-01-31/tickets.parquet"
    main([f"--root={root}", *DAY])
    first = file.read_bytes()
    main([f"--root={root}", *DAY])
    assert file.read_bytes() == first


@pytest.mark.parametrize("bodies", [(), ("<br>",)], ids=["none", "only empty ones"])
def test_no_ticket_is_exit_code_99_and_nothing_is_written(root, database, bodies):
    database(*bodies)
    assert main([f"--root={root}", *DAY]) == 99
    assert not root.exists()


def test_an_offset_is_taken_into_account(root, database):
    database("one")
    assert main([f"--root={root}", "--start=2026-01-31T23:00:00-02:00", "--end=2026-02-02T00:00:00Z"]) == 0
    assert (root / "2026-02-01/tickets.parquet").exists()


@pytest.mark.parametrize(
    ("argument", "says"),
    [
        ("--start=yesterday", "'yesterday' is not an ISO 8601 instant"),
        ("--start=2026-01-31T00:00:00", "has no offset from UTC"),
        ("--label-days=0", "'0' is not a whole number above 0"),
    ],
)
def test_a_wrong_argument_is_one_line_and_exit_code_2(root, capsys, argument, says):
    with pytest.raises(SystemExit) as end:
        main([f"--root={root}", *DAY, argument])
    assert end.value.code == 2
    error = capsys.readouterr().err
    assert says in error
    assert error.count("\n") == 1


def test_an_empty_interval(root, capsys):
    assert main([f"--root={root}", DAY[0], "--end=2026-01-31T00:00:00+00:00"]) == 2
    assert "is not before --end" in capsys.readouterr().err


def test_no_dsn(root, monkeypatch, capsys):
    monkeypatch.delenv("TICKETS_DSN")
    assert main([f"--root={root}", *DAY]) == 2
    assert capsys.readouterr().err == "ticket-extract: the environment variable TICKETS_DSN is not set\n"


def test_a_database_that_does_not_answer_is_exit_code_1(root, monkeypatch, capsys):
    def read_tickets(*_):
        raise Unavailable("no connection to PostgreSQL: refused")

    monkeypatch.setattr(source, "read_tickets", read_tickets)
    assert main([f"--root={root}", *DAY]) == 1
    assert capsys.readouterr().err == "ticket-extract: no connection to PostgreSQL: refused\n"


def test_a_storage_that_refuses_is_exit_code_1(tmp_path, database, monkeypatch, capsys):
    monkeypatch.setenv("TICKETS_DSN", "postgresql://acme@db/tickets")
    database("one")
    (tmp_path / "acme").write_text("a file where a folder should be")
    assert main([f"--root={tmp_path}/acme", *DAY]) == 1
    assert capsys.readouterr().err.startswith("ticket-extract: ")
