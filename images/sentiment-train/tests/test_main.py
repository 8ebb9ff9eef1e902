"""The command line: exit codes, what is written, what is said."""

import json
from datetime import timedelta

import joblib
import pandas as pd
import pytest

from sentiment_train.__main__ import main


def written(put) -> list[str]:
    return sorted(file.name for file in put.folder.iterdir())


def test_model_and_metrics_are_written_into_the_day(put, labelled):
    earlier = labelled(20, prefix="b")
    put(pd.concat([labelled(20), earlier.assign(created_at=earlier["created_at"] - timedelta(days=3))]))
    assert main(put.argv) == 0
    metrics = json.loads((put.folder / "metrics.json").read_text())
    assert metrics["trained_on"] + metrics["measured_on"] == 120
    assert metrics["days"] == {"first": "2026-01-28", "last": "2026-01-31", "count": 2}
    model = joblib.load(put.folder / "model.joblib")
    assert model.classes_.tolist() == metrics["labels"] == ["negative", "neutral", "positive"]


def test_a_retry_writes_the_same_metrics(put, labelled):
    put(labelled(20))
    main(put.argv)
    first = (put.folder / "metrics.json").read_bytes()
    main(put.argv)
    assert (put.folder / "metrics.json").read_bytes() == first


@pytest.mark.parametrize("least", [10, 40])
def test_too_few_labels_are_one_line_exit_code_2_and_nothing_written(put, labelled, capsys, least):
    put(labelled(3))
    assert main([*put.argv, f"--least={least}"]) == 2
    error = capsys.readouterr().err
    assert error.startswith(
        f"sentiment-train: too few labelled tickets: 9 (negative 3, neutral 3, positive 3), at least {least}"
    )
    assert error.count("\n") == 1
    assert written(put) == ["labelled.parquet"]


def test_one_class_only(put, labelled, capsys):
    put(labelled(50, ["neutral"]))
    assert main(put.argv) == 2
    assert "only one class among the labelled tickets: neutral 50" in capsys.readouterr().err
    assert written(put) == ["labelled.parquet"]


def test_no_tickets_at_all(put, capsys):
    assert main(put.argv) == 2
    assert "labelled.parquet; ticket-extract writes it and has to run first" in capsys.readouterr().err


@pytest.mark.parametrize("argument", ["--day=31.1.2026", "--least=0", "--least=many"])
def test_a_wrong_argument(put, argument, capsys):
    with pytest.raises(SystemExit) as end:
        main([*put.argv, argument])
    assert end.value.code == 2
    assert argument.split("=")[1] in capsys.readouterr().err


def test_a_storage_that_refuses_is_exit_code_1(put, capsys):
    (put.folder / "labelled.parquet").mkdir(parents=True)
    assert main(put.argv) == 1
    assert capsys.readouterr().err.startswith("sentiment-train: ")
