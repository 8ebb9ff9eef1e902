"""Tickets to learn from."""

import io
from datetime import date, timedelta

import pandas as pd
import pytest

SAYINGS = {
    "positive": "thank you, it works well",
    "neutral": "how do I change the settings",
    "negative": "it is broken and nobody answers",
}


@pytest.fixture
def labelled():
    """Return a maker of ``n`` tickets of each label, some of them unlike the others."""

    def make(n, labels=tuple(SAYINGS), prefix="") -> pd.DataFrame:
        rows = []
        for label in labels:
            for i in range(n):
                rows.append((f"{prefix}{label}{i}", "Hello", f"{SAYINGS[label]} {i % 7}", label))
        return pd.DataFrame(rows, columns=["id", "subject", "body", "label"])

    return make


@pytest.fixture
def put(tmp_path):
    """Return a writer of a day's tickets.parquet into the client's folder, which is ``put.root``."""

    def write(day: date, tickets: pd.DataFrame) -> None:
        file = io.BytesIO()
        tickets.to_parquet(file, index=False)
        folder = tmp_path / "acme" / str(day)
        folder.mkdir(parents=True)
        (folder / "tickets.parquet").write_bytes(file.getvalue())

    write.root = str(tmp_path / "acme")
    write.day = date(2026, 1, 31)
    write.before = lambda days: write.day - timedelta(days=days)
    return write
