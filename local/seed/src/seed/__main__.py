"""Fills PostgreSQL with each client's support tickets of the last days, and of a fixed period;
what is there already stays.

Reads from the environment: SEED_DSN (a superuser's PostgreSQL URL of the database for the tickets), SEED_CLIENTS (a
folder with a file for each client: its name is the client's, its content the password of the client's role), SEED_DAYS
(how many days, default 60), SEED_PATIENCE (how many seconds to wait for the server, default 300).
"""

from __future__ import annotations

import os
import re
import sys
from datetime import UTC, datetime
from pathlib import Path

import psycopg

from seed import database

#: The end and the number of days of a period that is always there, for DAGs whose dates are fixed.
ARCHIVE = (datetime(2026, 1, 10, tzinfo=UTC), 10)


class BadInput(ValueError):
    """The environment is not what it must be."""


def main() -> int:
    try:
        dsn = _required("SEED_DSN")
        clients = _clients(Path(_required("SEED_CLIENTS")))
        days, patience = _number("SEED_DAYS", 60), _number("SEED_PATIENCE", 300)
        with database.connect(dsn, patience) as connection:
            for client, password in clients.items():
                added = sum(
                    database.fill(connection, client, password, until, number)
                    for until, number in (ARCHIVE, (database.now(), days))
                )
                print(f"{client}: {added} tickets added", flush=True)
    except BadInput as error:
        print(f"seed: {error}", file=sys.stderr)
        return 2
    except psycopg.Error as error:
        print(f"seed: {str(error).splitlines()[0]}", file=sys.stderr)
        return 1
    return 0


def _required(name: str) -> str:
    value = os.environ.get(name, "")
    if not value:
        raise BadInput(f"{name} must be set")
    return value


def _number(name: str, default: int) -> int:
    text = os.environ.get(name) or str(default)
    if not text.isdigit():
        raise BadInput(f"{name}: expected a whole number, found {text!r}")
    return int(text)


def _clients(folder: Path) -> dict[str, str]:
    if not folder.is_dir():
        raise BadInput(f"SEED_CLIENTS: {folder} is not a folder")
    # A mounted Secret keeps its versions in entries that start with a dot.
    files = sorted(path for path in folder.iterdir() if not path.name.startswith("."))
    for path in files:
        if not re.fullmatch(r"[a-z][a-z0-9_-]{0,49}", path.name):
            raise BadInput(f"SEED_CLIENTS: {path.name!r} is no client: a-z first, then a-z, 0-9, - and _, at most 50")
    return {path.name: path.read_text().strip() for path in files}


if __name__ == "__main__":
    sys.exit(main())
