"""Scores of days, and what a model was measured at."""

import json
from datetime import UTC, date, datetime, timedelta

import pandas as pd
import pytest


@pytest.fixture
def scored():
    """Return a maker of scores: ``scored(day, "negative negative positive", channel="chat")``."""

    def make(day: date, sentiments: str, prefix="", **columns) -> pd.DataFrame:
        names = sentiments.split()
        at = datetime(day.year, day.month, day.day, 12, tzinfo=UTC)
        scores = pd.DataFrame(
            {
                "id": [f"{prefix}{day}-{i}" for i in range(len(names))],
                "created_at": pd.to_datetime([at] * len(names), utc=True),
                "customer": "Ann",
                "subject": [f"Subject {i}" for i in range(len(names))],
                "channel": "email",
                "label": None,
                "sentiment": names,
                "confidence": [0.5 + i / 100 for i in range(len(names))],
                "score": 0.0,
            }
        )
        return scores.assign(**columns)

    return make


@pytest.fixture
def metrics():
    """Return metrics as sentiment-train writes them."""
    labels = ["negative", "neutral", "positive"]
    return {
        "labels": labels,
        "labelled": {"negative": 30, "neutral": 20, "positive": 1250},
        "trained_on": 975,
        "measured_on": 325,
        "seed": 1,
        "accuracy": 0.914,
        "baseline_accuracy": 0.42,
        "macro_f1": 0.9,
        "by_label": {label: {"precision": 0.91, "recall": 0.87, "f1": 0.89, "tickets": 9} for label in labels},
        "confusion_matrix": [[8, 1, 0], [0, 5, 0], [0, 2, 309]],
        "days": {"first": "2026-01-02", "last": "2026-01-31", "count": 30},
        "scikit_learn": "1.9.1",
    }


@pytest.fixture
def client(tmp_path, metrics):
    """Return the client's folder, with ``put(day, *parts)`` to fill a day."""

    class Client:
        root = str(tmp_path / "acme")
        day = date(2026, 1, 31)
        yesterday = day - timedelta(days=1)

        def folder(self, day=None):
            return tmp_path / "acme" / str(day or self.day)

        def put(self, day, *parts):
            folder = self.folder(day) / "scores"
            folder.mkdir(parents=True)
            for i, part in enumerate(parts):
                part.to_parquet(folder / f"part-{i}.parquet", index=False)
            (self.folder(day) / "metrics.json").write_text(json.dumps(metrics))

    return Client()
