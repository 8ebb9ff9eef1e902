"""The tickets in PostgreSQL: a schema and a role for each client; the role reads that schema and nothing else."""

from __future__ import annotations

import time
from dataclasses import astuple
from datetime import UTC, datetime

import psycopg
from psycopg import sql

from seed import tickets

_TABLE = """
CREATE TABLE IF NOT EXISTS {schema}.tickets (
    id         text PRIMARY KEY,
    created_at timestamptz NOT NULL,
    customer   text NOT NULL,
    subject    text NOT NULL,
    body       text NOT NULL,
    channel    text NOT NULL,
    label      text CHECK (label IN ('positive', 'neutral', 'negative'))
);
CREATE INDEX IF NOT EXISTS tickets_created_at ON {schema}.tickets (created_at);
"""


def connect(dsn: str, patience: float) -> psycopg.Connection:
    """A connection, waited for while the server starts.

    Args:
        dsn: PostgreSQL URL of a superuser, naming the database of the tickets.
        patience: how long to wait, in seconds.

    Raises:
        psycopg.OperationalError: the server could not be reached, or refused the login, for that long.
    """
    deadline = time.monotonic() + patience
    said = None
    while True:
        try:
            return psycopg.connect(dsn, connect_timeout=5, application_name="seed")
        except psycopg.OperationalError as error:
            if time.monotonic() > deadline:
                raise
            reason = str(error).splitlines()[0]
            if reason != said:
                print(f"waiting for PostgreSQL: {reason}", flush=True)
                said = reason
        time.sleep(1)


def role_of(client: str) -> str:
    """The name of the client's role."""
    return f"{client}_reader"


def fill(connection: psycopg.Connection, client: str, password: str, now: datetime, days: int) -> int:
    """Bring the client's role and schema to what they must be and add the tickets that are missing; their number."""
    with connection.transaction():
        _prepare(connection, client, password)
        table = sql.Identifier(client, "tickets")
        counts = sql.SQL("SELECT (created_at AT TIME ZONE 'UTC')::date, count(*) FROM {} GROUP BY 1").format(table)
        present = dict(connection.execute(counts).fetchall())
        insert = sql.SQL("INSERT INTO {} VALUES (%s, %s, %s, %s, %s, %s, %s) ON CONFLICT DO NOTHING").format(table)
        added = 0
        with connection.cursor() as cursor:
            for day, expected in tickets.until(client, now, days):
                if len(expected) > present.get(day, 0):
                    cursor.executemany(insert, [astuple(ticket) for ticket in expected])
                    added += cursor.rowcount
        return added


def _prepare(connection: psycopg.Connection, client: str, password: str) -> None:
    role, schema = sql.Identifier(role_of(client)), sql.Identifier(client)
    known = connection.execute("SELECT FROM pg_roles WHERE rolname = %s", [role_of(client)]).fetchone()
    if known is None:
        connection.execute(sql.SQL("CREATE ROLE {}").format(role))
    # Hashed here, so that the password itself is in no statement and no server log.
    verifier = connection.pgconn.encrypt_password(password.encode(), role_of(client).encode(), b"scram-sha-256")
    statements = f"""
        ALTER ROLE {{role}} LOGIN PASSWORD {{verifier}};
        ALTER ROLE {{role}} SET search_path = {{schema}};
        CREATE SCHEMA IF NOT EXISTS {{schema}};
        {_TABLE}
        GRANT CONNECT ON DATABASE {{database}} TO {{role}};
        GRANT USAGE ON SCHEMA {{schema}} TO {{role}};
        GRANT SELECT ON {{schema}}.tickets TO {{role}};
    """
    connection.execute(
        sql.SQL(statements).format(
            role=role,
            schema=schema,
            verifier=sql.Literal(verifier.decode()),
            database=sql.Identifier(connection.info.dbname),
        )
    )


def now() -> datetime:
    """The moment up to which tickets have come in."""
    return datetime.now(UTC)
