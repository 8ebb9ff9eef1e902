"""The scores of a day and of the days before it."""

import io
from datetime import date, timedelta

import pandas as pd
import pyarrow.parquet as pq

from ticket_report import storage
from ticket_report.errors import BadInput


def read_day(root: str, day: date, batches: int) -> pd.DataFrame:
    """Return the scores of one day, from all its batches.

    Raises:
        BadInput: the part of a batch is missing.
        OSError: the storage refuses or does not answer.
    """
    folder = f"{root}/{day}/scores"
    parts = []
    for batch in range(batches):
        try:
            parts.append(_read(f"{folder}/part-{batch}.parquet"))
        except FileNotFoundError:
            raise BadInput(
                f"nothing at {folder}/part-{batch}.parquet; "
                f"sentiment-score --batch {batch} --of {batches} has to run first"
            ) from None
    return pd.concat(parts, ignore_index=True)


def read_earlier(root: str, day: date, days: int) -> pd.DataFrame:
    """Return the scores of up to ``days - 1`` days before ``day``, as far as they were made.

    Raises:
        OSError: the storage refuses or does not answer.
    """
    parts = [pd.DataFrame({"id": [], "created_at": pd.to_datetime([], utc=True), "sentiment": []})]
    for name in storage.names(root):
        try:
            then = date.fromisoformat(name)
        except ValueError:
            continue  # not the folder of a day
        if timedelta(0) < day - then < timedelta(days):
            folder = f"{root}/{name}/scores"
            parts += [_read(f"{folder}/{part}") for part in storage.names(folder) if part.endswith(".parquet")]
    # A day that was once scored in more batches has left a part behind: each ticket counts once.
    return pd.concat(parts, ignore_index=True).drop_duplicates("id")


def _read(url: str) -> pd.DataFrame:
    return pq.read_table(io.BytesIO(storage.read(url))).to_pandas()
