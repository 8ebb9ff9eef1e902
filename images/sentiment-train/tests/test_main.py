"""The command line: exit codes, what is written, what is said."""

import json

import joblib
import pytest

from sentiment_train.__main__ import main


def test_model_and_metrics_are_written_into_the_day(put, labelled, tmp_path):
    put(put.day, labelled(20))
    put(put.before(1), labelled(20, prefix="b"))
    assert main([f"--root={put.root}/", "--day=2026-01-31", "--days=2"]) == 0
    metrics = json.loads((tmp_path / "acme/2026-01-31/metrics.json").read_text())
    assert metrics["trained_on"] + metrics["measured_on"] == 120
    assert metrics["days"] == {"first": "2026-01-30", "last": "2026-01-31", "count": 2}
    model = joblib.load(tmp_path / "acme/2026-01-31/model.joblib")
    assert model.classes_.tolist() == metrics["labels"] == ["negative", "neutral", "positive"]


def test_a_retry_writes_the_same_metrics(put, labelled, tmp_path):
    put(put.day, labelled(20))
    file = tmp_path / "acme/2026-01-31/metrics.json"
    main([f"--root={put.root}", "--day=2026-01-31"])
    first = file.read_bytes()
    main([f"--root={put.root}", "--day=2026-01-31"])
    assert file.read_bytes() == first


def test_too_few_labels_are_one_line_exit_code_2_and_nothing_written(put, labelled, tmp_path, capsys):
    put(put.day, labelled(3))
    assert main([f"--root={put.root}", "--day=2026-01-31"]) == 2
    error = capsys.readouterr().err
    assert error.startswith("sentiment-train: too few labelled tickets: 9 ")
    assert error.count("\n") == 1
    assert [file.name for file in (tmp_path / "acme/2026-01-31").iterdir()] == ["tickets.parquet"]


def test_no_tickets_at_all(put, capsys):
    assert main([f"--root={put.root}", "--day=2026-01-31"]) == 2
    assert "no tickets.parquet in" in capsys.readouterr().err


@pytest.mark.parametrize("argument", ["--day=31.1.2026", "--days=0", "--least=many"])
def test_a_wrong_argument(put, argument, capsys):
    with pytest.raises(SystemExit) as end:
        main([f"--root={put.root}", "--day=2026-01-31", argument])
    assert end.value.code == 2
    assert argument.split("=")[1] in capsys.readouterr().err


def test_a_storage_that_refuses_is_exit_code_1(tmp_path, capsys):
    (tmp_path / "acme").write_text("a file where a folder should be")
    assert main([f"--root={tmp_path}/acme", "--day=2026-01-31"]) == 1
    assert capsys.readouterr().err.startswith("sentiment-train: ")
