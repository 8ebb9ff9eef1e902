"""``python -m airflow_platform.backup prepare | store | probe | fetch``."""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from pathlib import Path
from typing import Any

from psycopg2.extensions import parse_dsn

from airflow_platform.backup import fernet
from airflow_platform.backup.bucket import VARIABLE, BackupError, Bucket, Record, digest, fingerprints
from airflow_platform.schema import (
    URL_VARIABLE,
    NotReady,
    connect,
    expected_heads,
    found_heads,
    revisions,
    wait,
)  # fmt: skip

CONNECTION, BACKUP = Path("/connection"), Path("/backup")
#: Which backup `fetch` takes; without it, the newest of a schema that a release of Airflow has.
NAME_VARIABLE = "AIRFLOW_PLATFORM_RESTORE"
_KEYS_VARIABLE = "AIRFLOW__CORE__FERNET_KEY"

#: PostgreSQL's schema that holds Airflow's tables; that where they are to be, before there are any.
_WITHIN = """
    SELECT coalesce(
        (SELECT nspname FROM pg_class c JOIN pg_namespace n ON n.oid = relnamespace
         WHERE c.oid = to_regclass('alembic_version')),
        current_schema(), 'public')
"""
#: Whether the user may create in a schema, and what there it could not replace.
_CANNOT = """
    SELECT has_schema_privilege(n.oid, 'CREATE'), array(
        SELECT format('%%s of %%s', relname, pg_get_userbyid(relowner)) FROM pg_class c
        WHERE relnamespace = n.oid AND relkind IN ('r', 'p', 'v', 'm', 'S')
        AND NOT pg_has_role(relowner, 'USAGE')
        AND NOT EXISTS (
            SELECT FROM pg_depend d WHERE d.classid = 'pg_class'::regclass AND d.objid = c.oid AND deptype = 'e'
        ) ORDER BY 1 LIMIT 3)
    FROM pg_namespace n WHERE nspname = %s
"""
#: What comes before a dump where it is restored, by psql, which knows the schema as a variable.
_BEFORE = Path(__file__).parent / "before.sql"

#: Sessions of others in the database. What the server itself does there is none of them, and has no user; of what kind
#: another user's is may be hidden from this one.
_OTHERS = """
    SELECT count(*) FROM pg_stat_activity
    WHERE datname = current_database() AND pid <> pg_backend_pid() AND usesysid IS NOT NULL
    AND coalesce(backend_type, 'client backend') = 'client backend'
"""


def prepare(connection: Path, timeout: float) -> None:
    """Write how the database is reached, and, where its schema is about to move, a file ``needed``.

    Raises:
        BackupError: the dump could not be restored by the database's user, or the bucket cannot be read.
        NotReady: the database does not answer for ``timeout`` seconds.
    """
    heads = _look(connection, timeout)
    expected = expected_heads()
    if not heads:
        print("the database is empty: there is nothing to dump")
    elif heads == expected:
        print("the schema stays: no dump is needed")
    elif before := _made_before(heads, expected):
        print(f"the schema is at {_of(heads)}, where a migration ended halfway: its backup is {before.name}")
    else:
        with connect() as database, database.cursor() as cursor:
            keys = fernet.in_use(cursor, os.environ.get(_KEYS_VARIABLE, ""))
        (connection / "needed").write_text(json.dumps({"heads": heads, "fernet_keys": keys}))
        print(f"the schema moves from {_of(heads)} to {_of(expected)}: the database is dumped first")


def probe(connection: Path, timeout: float) -> None:
    """Try what a dump needs, but for ``pg_dump`` itself, and write how the database is reached.

    Raises:
        BackupError: a dump could not be restored by the database's user, or the bucket not be read or written.
        NotReady: the database does not answer for ``timeout`` seconds.
    """
    _look(connection, timeout)
    bucket = Bucket.of()
    bucket.probe()
    names = bucket.names()
    newest = f", the newest {names[-1]}" if names else ""
    print(f"{bucket} can be written and read; it has {len(names)} backups{newest}")


def _look(connection: Path, timeout: float) -> dict[str, str]:
    """The revisions of the schema; files ``service``, how the database is reached, and ``schema``, Airflow's own."""

    def look() -> tuple[dict[str, str], str, bool, list[str]]:
        with connect() as database, database.cursor() as cursor:
            heads = found_heads(database)
            cursor.execute(_WITHIN)
            (within,) = cursor.fetchone()
            cursor.execute(_CANNOT, (within,))
            may_create, of_others = cursor.fetchone() or (True, [])
            return heads, within, may_create, of_others

    heads, within, may_create, of_others = wait(look, timeout)
    if not may_create:
        raise BackupError(
            f"the database's user may not create anything in the schema {within}, so that no dump could be restored by "
            "it. Grant it CREATE on the schema, or set backup.enabled to false"
        )
    if of_others:
        raise BackupError(
            f"what others own in the schema {within}, the database's user could not replace when a dump is restored: "
            f"{', '.join(of_others)}. Make it the owner, or a member of that role, or move it to another schema; or "
            "set backup.enabled to false"
        )
    (connection / "schema").write_text(within)
    write_service(connection / "service", os.environ[URL_VARIABLE])
    return heads


def _made_before(heads: dict[str, str], expected: dict[str, str]) -> Record | None:
    """The backup that was made before a migration of which an earlier try has gone a part of the way."""
    newest = Bucket.of().newest()
    if newest is None or newest.target != expected or newest.schema == heads:
        return None
    # What a release has brought may have been in use since.
    moved = heads.get("alembic_version") == expected["alembic_version"] or not version_of(heads)
    return newest if moved else None


def store(connection: Path, backup: Path) -> None:
    """Put the dump that was made into the bucket, where one was needed.

    Raises:
        BackupError: it could not be stored.
    """
    if not (connection / "needed").exists():
        return
    needed = json.loads((connection / "needed").read_text())
    heads, dump = needed["heads"], backup / "dump"
    record = Record(
        name=time.strftime("%Y%m%dT%H%M%SZ", time.gmtime()),
        release=json.loads(os.environ[VARIABLE])["release"],
        schema=heads,
        airflow=version_of(heads),
        fernet_keys=tuple(needed["fernet_keys"]),
        size=dump.stat().st_size,
        sha256=digest(dump),
        target=expected_heads(),
        within=(connection / "schema").read_text(),
    )
    bucket = Bucket.of()
    bucket.put(record, dump)
    dump.unlink()
    print(f"backup {record.name}, {record.size / 1e6:.1f} MB, is in {bucket}")


def fetch(connection: Path, backup: Path) -> None:
    """Fetch a dump, to be restored by what comes next.

    Raises:
        BackupError: there is none, its connections could not be read here, or somebody else uses the database.
        NotReady: the database does not answer.
    """
    bucket = Bucket.of()
    name = os.environ.get(NAME_VARIABLE, "")
    record = bucket.record(name) if name else bucket.newest(of_release=True)
    if record is None:
        raise BackupError(f"{bucket} has no backup")
    missing = set(record.fernet_keys) - set(fingerprints(os.environ.get(_KEYS_VARIABLE, "")))
    if missing and (record.target or missing == set(record.fernet_keys)):
        raise BackupError(
            f"some of what backup {record.name} holds is encrypted with another Fernet key "
            f"({', '.join(sorted(missing))}) than the release has. Put that key back into its Secret first, beside the "
            "present one"
        )
    with connect() as database, database.cursor() as cursor:
        cursor.execute(_OTHERS)
        others = cursor.fetchone()[0]
    if others:
        raise BackupError(f"{others} sessions of others are open in the database. Stop all that uses it first")
    bucket.get(record, backup / "dump")
    (connection / "schema").write_text(record.within)
    (connection / "before.sql").write_text(_BEFORE.read_text())
    write_service(connection / "service", os.environ[URL_VARIABLE])
    print(f"backup {record.name}, of the schema of Airflow {record.airflow or 'unknown'}: {_of(record.schema)}")


def write_service(path: Path, url: str) -> None:
    """The database's URL as libpq's connection service file, in which no program has it among its arguments."""
    dsn: dict[str, Any] = parse_dsn(f"postgresql://{url.partition('://')[2]}")
    path.touch(mode=0o600)
    path.write_text("[airflow]\n" + "".join(f"{key}={value}\n" for key, value in dsn.items()))


def version_of(heads: dict[str, str]) -> str:
    """The version of Airflow that brought this schema; empty where this image does not know it."""
    known = revisions()["alembic_version"]
    return next((version for version, revision in known.items() if revision == heads.get("alembic_version")), "")


def _of(heads: Any) -> str:
    return ", ".join(f"{table} {revision}" for table, revision in sorted(heads.items()))


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m airflow_platform.backup", description=__doc__)
    parser.add_argument("step", choices=["prepare", "store", "probe", "fetch"])
    parser.add_argument("--database-timeout", type=float, default=300, help="seconds (default: %(default)s)")
    options = parser.parse_args(arguments)
    try:
        if options.step == "prepare":
            prepare(CONNECTION, options.database_timeout)
        elif options.step == "store":
            store(CONNECTION, BACKUP)
        elif options.step == "probe":
            probe(CONNECTION, options.database_timeout)
        else:
            fetch(CONNECTION, BACKUP)
    except (BackupError, NotReady) as error:
        sys.exit(str(error))


if __name__ == "__main__":
    main()
