"""The command line: exit codes, what is written, what is said."""

import joblib
import pandas as pd
import pytest

from sentiment_score.__main__ import main


@pytest.fixture
def root(tmp_path, model, tickets):
    """Return a client's folder with tickets and model of a day."""
    folder = tmp_path / "acme/2026-01-31"
    folder.mkdir(parents=True)
    tickets("good", "bad", "plain", "bad", "good", "good").to_parquet(folder / "tickets.parquet", index=False)
    joblib.dump(model, folder / "model.joblib")
    return tmp_path / "acme"


def test_the_parts_together_are_all_tickets(root):
    for batch in range(3):
        assert main([f"--root={root}", "--day=2026-01-31", f"--batch={batch}", "--of=3"]) == 0
    parts = sorted((root / "2026-01-31/scores").iterdir())
    assert [part.name for part in parts] == ["part-0.parquet", "part-1.parquet", "part-2.parquet"]
    scores = pd.concat(map(pd.read_parquet, parts)).sort_values("id")
    assert scores["sentiment"].tolist() == ["positive", "negative", "neutral", "negative", "positive", "positive"]


def test_a_batch_without_tickets_still_writes_its_part(root):
    for batch in range(50):
        assert main([f"--root={root}", "--day=2026-01-31", f"--batch={batch}", "--of=50"]) == 0
    assert len(list((root / "2026-01-31/scores").iterdir())) == 50


def test_a_retry_writes_the_same_bytes(root):
    argv = [f"--root={root}", "--day=2026-01-31", "--batch=0", "--of=1"]
    main(argv)
    first = (root / "2026-01-31/scores/part-0.parquet").read_bytes()
    main(argv)
    assert (root / "2026-01-31/scores/part-0.parquet").read_bytes() == first


@pytest.mark.parametrize(
    ("name", "writer"), [("tickets.parquet", "ticket-extract"), ("model.joblib", "sentiment-train")]
)
def test_what_is_missing_is_named_with_who_writes_it(root, capsys, name, writer):
    (root / "2026-01-31" / name).unlink()
    assert main([f"--root={root}", "--day=2026-01-31", "--batch=0", "--of=1"]) == 2
    error = capsys.readouterr().err
    assert f"{name}; {writer} writes it" in error
    assert error.count("\n") == 1


@pytest.mark.parametrize(("batch", "of"), [(3, 3), (-1, 3), (0, 0)])
def test_a_batch_that_does_not_exist(root, capsys, batch, of):
    assert main([f"--root={root}", "--day=2026-01-31", f"--batch={batch}", f"--of={of}"]) == 2
    assert f"no batch {batch} of {of}" in capsys.readouterr().err


def test_a_wrong_day(root, capsys):
    with pytest.raises(SystemExit) as end:
        main([f"--root={root}", "--day=today", "--batch=0", "--of=1"])
    assert end.value.code == 2
    assert "'today' is not a date such as 2026-01-31" in capsys.readouterr().err


def test_a_storage_that_refuses_is_exit_code_1(root, capsys):
    (root / "2026-01-31/scores").write_text("a file where a folder should be")
    assert main([f"--root={root}", "--day=2026-01-31", "--batch=0", "--of=1"]) == 1
    assert capsys.readouterr().err.startswith("sentiment-score: ")
