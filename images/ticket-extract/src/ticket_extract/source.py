"""Tickets as the client's PostgreSQL schema holds them."""

from datetime import datetime

import pandas as pd
import psycopg
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict

from ticket_extract.errors import BadInput, Unavailable

COLUMNS = ["id", "created_at", "customer", "subject", "body", "channel", "label"]


def read_tickets(
    dsn: str, start: datetime, end: datetime, schema: str | None = None, *, labelled: bool = False
) -> pd.DataFrame:
    """Return the tickets created in ``[start, end)``, oldest first.

    Args:
        dsn: PostgreSQL URL. No message of this module repeats it, for it holds a password.
        schema: Where the table ``tickets`` is; None takes it from the role's search_path.
        labelled: Only those that have a label.

    Raises:
        BadInput: the DSN, the table or the role's rights are not as they should be.
        Unavailable: the server did not answer, or refused the login.
    """
    table = sql.Identifier(schema, "tickets") if schema else sql.Identifier("tickets")
    columns = sql.SQL(", ").join(map(sql.Identifier, COLUMNS))
    condition = sql.SQL("AND label IS NOT NULL " if labelled else "")
    query = sql.SQL("SELECT {} FROM {} WHERE created_at >= %s AND created_at < %s {}ORDER BY created_at, id")
    with connect(dsn) as connection:
        try:
            rows = connection.execute(query.format(columns, table, condition), [start, end]).fetchall()
        except (psycopg.errors.UndefinedTable, psycopg.errors.UndefinedColumn) as error:
            raise BadInput(f"{one_line(error)}; expected the table tickets({', '.join(COLUMNS)})") from None
        except (psycopg.errors.InsufficientPrivilege, psycopg.errors.InvalidSchemaName) as error:
            raise BadInput(f"{one_line(error)}; the role of TICKETS_DSN must be able to read it") from None
        except psycopg.OperationalError as error:
            raise Unavailable(f"PostgreSQL stopped answering: {one_line(error)}") from None
    tickets = pd.DataFrame(rows, columns=COLUMNS)
    tickets["id"] = tickets["id"].astype(str)
    tickets["created_at"] = pd.to_datetime(tickets["created_at"], utc=True)
    return tickets


def connect(dsn: str) -> psycopg.Connection:
    """Open a read-only connection.

    Raises:
        BadInput: ``dsn`` is not a PostgreSQL URL.
        Unavailable: the server did not answer within 10 s, or refused the login.
    """
    try:
        if not dsn.startswith(("postgresql://", "postgres://")):
            raise BadInput("TICKETS_DSN is not a PostgreSQL URL (postgresql://user:password@host:5432/database)")
        conninfo_to_dict(dsn)
        # A wait of 10 s at most, unless the URL says otherwise.
        defaults = {} if "connect_timeout" in dsn else {"connect_timeout": 10}
        connection = psycopg.connect(dsn, application_name="ticket-extract", **defaults)
    except psycopg.ProgrammingError:
        # The driver's own words would repeat the URL.
        raise BadInput("TICKETS_DSN is not a PostgreSQL URL that can be read") from None
    except psycopg.OperationalError as error:
        raise Unavailable(f"no connection to PostgreSQL: {one_line(error)}") from None
    connection.read_only = True
    return connection


def one_line(error: Exception) -> str:
    """Return the first line of an error's text."""
    return str(error).strip().splitlines()[0]
