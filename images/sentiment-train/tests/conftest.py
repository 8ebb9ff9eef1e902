"""Tickets to learn from."""

from datetime import UTC, datetime

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
        tickets = pd.DataFrame(rows, columns=["id", "subject", "body", "label"])
        return tickets.assign(created_at=datetime(2026, 1, 31, 23, tzinfo=UTC))

    return make


@pytest.fixture
def put(tmp_path):
    """Return a writer of labelled.parquet into the client's folder of 31 January 2026, which is ``put.folder``."""

    def write(tickets: pd.DataFrame) -> None:
        write.folder.mkdir(parents=True, exist_ok=True)
        tickets.to_parquet(write.folder / "labelled.parquet", index=False)

    write.folder = tmp_path / "acme/2026-01-31"
    write.argv = [f"--root={tmp_path}/acme/", "--day=2026-01-31"]
    return write
