"""The command line: exit codes, what is written, what is said."""

import pytest

from ticket_report.__main__ import main


@pytest.fixture
def argv(client, scored):
    client.put(client.yesterday, scored(client.yesterday, "neutral"))
    client.put(
        client.day, scored(client.day, "negative positive", prefix="a"), scored(client.day, "neutral", prefix="b")
    )
    return [f"--root={client.root}", f"--day={client.day}", "--batches=2", "--client=acme"]


def test_a_page_is_written_into_the_day(argv, client):
    assert main(argv) == 0
    page = (client.folder() / "report.html").read_text()
    assert "33% of 3 tickets were negative, 33 points more than in the days before." in page


def test_a_retry_writes_the_same_bytes(argv, client):
    main(argv)
    first = (client.folder() / "report.html").read_bytes()
    main(argv)
    assert (client.folder() / "report.html").read_bytes() == first


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("metrics.json", None, "metrics.json; sentiment-train writes it"),
        ("metrics.json", "{", "metrics.json is not JSON"),
        ("scores/part-1.parquet", None, "sentiment-score --batch 1 --of 2 has to run first"),
    ],
)
def test_what_is_missing_or_broken_is_named(argv, client, capsys, name, content, says):
    (client.folder() / name).unlink()
    if content:
        (client.folder() / name).write_text(content)
    assert main(argv) == 2
    error = capsys.readouterr().err
    assert says in error
    assert error.count("\n") == 1


def test_a_day_without_scores_has_no_page(client, scored, capsys):
    client.put(client.day, scored(client.day, ""))
    assert main([f"--root={client.root}", f"--day={client.day}", "--batches=1", "--client=acme"]) == 2
    assert "no scored ticket on 2026-01-31" in capsys.readouterr().err


@pytest.mark.parametrize("argument", ["--day=today", "--days=-1", "--batches=none"])
def test_a_wrong_argument(argv, argument, capsys):
    with pytest.raises(SystemExit) as end:
        main([*argv, argument])
    assert end.value.code == 2
    assert argument.split("=")[1] in capsys.readouterr().err


def test_a_storage_that_refuses_is_exit_code_1(argv, client, capsys):
    (client.folder() / "report.html").mkdir()
    assert main(argv) == 1
    assert capsys.readouterr().err.startswith("ticket-report: ")
