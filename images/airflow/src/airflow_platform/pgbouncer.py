"""What PgBouncer needs to know of the database, and what its clients need to know of PgBouncer.

``python -m airflow_platform.pgbouncer FOLDER`` writes the two files of PgBouncer's that hold secrets, of the database's
URL and the password of its clients. It is run in PgBouncer's pod before it, into a folder in memory, and imports no
Airflow.
"""

from __future__ import annotations

import argparse
import os
import re
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit
from uuid import uuid4

from airflow_platform.schema import URL_VARIABLE

PASSWORD_VARIABLE = "AIRFLOW_PLATFORM_PGBOUNCER_PASSWORD"

#: The user and the database that clients of PgBouncer name.
NAME = "airflow"


def _statement_name() -> str:
    return f"airflow_{uuid4().hex}"


#: For ``[database] sql_alchemy_connect_args_async``. PgBouncer gives each transaction another connection, so no
#: statement outlives its own, and no two clients give one the same name. The source is SQLAlchemy's page on asyncpg,
#: "Prepared Statement Name with PGBouncer".
ASYNC_CONNECT_ARGS: dict[str, Any] = {
    "statement_cache_size": 0,
    "prepared_statement_cache_size": 0,
    "prepared_statement_name_func": _statement_name,
}


class UrlError(ValueError):
    """The database's URL does not do for PgBouncer; the message says why, and repeats no part of it."""


def databases(url: str) -> str:
    """PgBouncer's section ``[databases]``: the database of a ``postgresql://`` URL, with its user and password.

    Raises:
        UrlError: it names no host, user or database, or has options, which are PgBouncer's own to set.
    """
    try:
        parts = urlsplit(url)
        port = parts.port or 5432
    except ValueError:
        raise UrlError("it is not a valid URL: percent-encode user and password") from None
    if parts.scheme.split("+")[0] not in ("postgres", "postgresql"):
        raise UrlError("it is no PostgreSQL URL")
    if options := sorted({name for name, _ in parse_qsl(parts.query, keep_blank_values=True)}):
        raise UrlError(
            f"it has options ({', '.join(options)}), which PgBouncer would not heed: take them out, and set "
            "database.sslMode and database.sslRootCert for TLS, pgbouncer.config for others"
        )
    name = unquote(parts.path.removeprefix("/"))
    wanted = {
        "host": unquote(parts.hostname or ""),
        "port": str(port),
        "dbname": name,
        "user": unquote(parts.username or ""),
        "password": unquote(parts.password or ""),
    }
    for part in ("host", "dbname", "user"):
        if not wanted[part]:
            raise UrlError(f"it has no {part}")
    if any("\n" in value or "\0" in value for value in wanted.values()):
        raise UrlError("it has a line break")
    words = " ".join(f"{key}={_quoted(value)}" for key, value in wanted.items() if value)
    return f"[databases]\n{NAME} = {words}\n"


def _quoted(value: str) -> str:
    return "'" + value.replace("'", "''") + "'"


def userlist(password: str) -> str:
    """PgBouncer's ``auth_file``: the one user that clients are.

    Raises:
        UrlError: the password would have to be encoded in the URL that clients are given.
    """
    if not re.fullmatch(r"[A-Za-z0-9_.~-]+", password):
        raise UrlError(
            'the password of PgBouncer\'s clients is empty, or not of letters, digits, "-" and "_": choose another'
        )
    return f'"{NAME}" "{password}"\n'


def write(folder: Path, environment: Mapping[str, str]) -> None:
    """Both files.

    Raises:
        UrlError: URL or password do not do.
        OSError: the folder cannot be written.
    """
    texts = {
        "databases.ini": databases(environment.get(URL_VARIABLE, "")),
        "userlist.txt": userlist(environment.get(PASSWORD_VARIABLE, "")),
    }
    for name, text in texts.items():
        path = folder / name
        path.unlink(missing_ok=True)
        path.touch(mode=0o600)
        path.write_text(text)


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m airflow_platform.pgbouncer", description=__doc__)
    parser.add_argument("folder", type=Path)
    options = parser.parse_args(arguments)
    try:
        write(options.folder, os.environ)
    except UrlError as error:
        sys.exit(f"The Secret of the database's URL or of PgBouncer's password cannot be used: {error}")


if __name__ == "__main__":
    main()
