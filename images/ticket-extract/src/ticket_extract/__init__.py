"""Reads one client's support tickets of a data interval from PostgreSQL, cleans them, writes them as Parquet."""
