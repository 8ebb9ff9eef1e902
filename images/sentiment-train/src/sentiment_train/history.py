"""The labelled tickets of a day and of the days before it."""

import io
from datetime import date, timedelta

import pandas as pd
import pyarrow.parquet as pq

from sentiment_train import storage

COLUMNS = ["id", "subject", "body", "label"]


def labelled_tickets(root: str, day: date, days: int) -> tuple[pd.DataFrame, list[date]]:
    """Return the labelled tickets of the ``days`` days that end with ``day``, and the days that were found.

    Args:
        root: The client's folder, in which each day has one of its own (``2026-01-31/tickets.parquet``).

    Raises:
        OSError: the storage refuses or does not answer.
    """
    first = day - timedelta(days=days - 1)
    found, parts = [], []
    for name in storage.names(root):
        try:
            then = date.fromisoformat(name)
        except ValueError:
            continue  # not the folder of a day
        if not first <= then <= day:
            continue
        try:
            data = storage.read(f"{root}/{name}/tickets.parquet")
        except FileNotFoundError:
            continue
        found.append(then)
        parts.append(pq.read_table(io.BytesIO(data), columns=COLUMNS).to_pandas())
    tickets = pd.concat(parts, ignore_index=True) if parts else pd.DataFrame(columns=COLUMNS)
    return tickets.dropna(subset="label").drop_duplicates("id").reset_index(drop=True), found
