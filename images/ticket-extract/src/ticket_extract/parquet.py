"""Tickets as Parquet."""

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

SCHEMA = pa.schema(
    [
        pa.field("id", pa.string(), nullable=False),
        pa.field("created_at", pa.timestamp("us", tz="UTC"), nullable=False),
        pa.field("customer", pa.string(), nullable=False),
        pa.field("subject", pa.string(), nullable=False),
        pa.field("body", pa.string(), nullable=False),
        pa.field("channel", pa.string(), nullable=False),
        pa.field("label", pa.string()),
    ]
)


def to_parquet(tickets: pd.DataFrame) -> bytes:
    """Return the tickets as one Parquet file with the columns of ``SCHEMA``."""
    sink = pa.BufferOutputStream()
    pq.write_table(pa.Table.from_pandas(tickets, schema=SCHEMA, preserve_index=False), sink, compression="zstd")
    return sink.getvalue().to_pybytes()
