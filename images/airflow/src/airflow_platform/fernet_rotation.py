"""Encrypts by the first of several Fernet keys whatever the database holds encrypted by another.

``airflow rotate-fernet-key`` does it in one transaction, which holds every row until its end. Here each value is
replaced by itself, where it is still what was read, so that tasks may run meanwhile.
"""

from __future__ import annotations

import logging
from collections import Counter
from itertools import groupby
from operator import itemgetter

from airflow.configuration import conf
from airflow.models import Connection, Trigger, Variable
from airflow.models.connection_test import ConnectionTestRequest
from airflow.utils.session import create_session
from cryptography.fernet import Fernet, InvalidToken, MultiFernet
from sqlalchemy import Column, select, true, update
from sqlalchemy.orm import Session

from airflow_platform.backup.fernet import reads

log = logging.getLogger(__name__)

#: What `airflow rotate-fernet-key` of Airflow 3.3.2 takes: table, column, whether a row's is encrypted, its name.
_ENCRYPTED = tuple(
    (table, table.c[column], true() if flag is None else table.c[flag], table.c[name])
    for table, column, flag, name in (
        (Connection.__table__, "password", "is_encrypted", "conn_id"),
        (Connection.__table__, "extra", "is_extra_encrypted", "conn_id"),
        (Variable.__table__, "val", "is_encrypted", "key"),
        (Trigger.__table__, "kwargs", None, "id"),
        (ConnectionTestRequest.__table__, "password", "is_encrypted", "id"),
        (ConnectionTestRequest.__table__, "extra", "is_extra_encrypted", "id"),
    )
)


def check() -> None:
    """See whether the keys are those of this database: a release of another name has generated ones of its own.

    The first table with anything encrypted tells: pods that a wrong key has reached write triggers within seconds.
    What else none of them reads is a warning: it may have been so for years.

    Raises:
        RuntimeError: nothing of that is encrypted by one of the keys.
    """
    keys, some, unread = _keys(), False, []
    with create_session() as session:
        for table, columns in groupby(_ENCRYPTED, itemgetter(0)):
            texts = [text for _, column, encrypted, _ in columns for text in _texts(session, column, encrypted)]
            mine = [text for text in texts if not any(reads(key, text) for key in keys)]
            if mine:
                unread.append(f"{len(mine)} values of {table.name}")
            some = some or len(mine) < len(texts)
            if texts and not some:
                raise RuntimeError(
                    f"none of the {len(keys)} Fernet keys reads what the database has encrypted ({len(texts)} values "
                    f"of {table.name}): another key did it. If the release or fullnameOverride had another name, that "
                    "key is in the Secret <name before>-generated: name it in fernetKey.existingSecret. Or put the "
                    "key, comma separated, beside that of fernetKey's Secret (<name now>-generated, where none is "
                    f"named). If it is lost, delete these rows of {table.name}"
                )
    if unread:
        log.warning(
            "None of the %s Fernet keys reads %s. If a rotation has just ended, old pods had still encrypted by the "
            "key of before: put that back into the Secret, after the present one, and run the Job once more with "
            "fernetKey.rotate",
            len(keys),
            ", ".join(unread),
        )


def rotate() -> int:
    """Do it; the number of values that were encrypted anew.

    Raises:
        RuntimeError: something is encrypted by none of the keys. All else has been done.
    """
    keys = _keys()
    if len(keys) < 2:
        log.warning("fernetKey.rotate is set, but its Secret lists one key: nothing is to be encrypted anew")
        return 0
    done: Counter[str] = Counter()
    unreadable = []
    for table, column, encrypted, name in _ENCRYPTED:
        ids = _ids(table, column, encrypted)
        for row in ids:
            try:
                done[table.name] += _rotate_one(table, column, row, keys)
            except InvalidToken:
                unreadable.append(f"{table.name} {_name(table, name, row)}")
    log.info("Encrypted by the first key: %s", ", ".join(f"{count} of {name}" for name, count in done.items()))
    if unreadable:
        raise RuntimeError(
            f"none of the {len(keys)} Fernet keys reads {', '.join(unreadable)}: "
            "add the key that does to the Secret of fernetKey, or remove them"
        )
    return done.total()


def _keys() -> list[Fernet]:
    return [Fernet(key.strip()) for key in conf.get("core", "fernet_key").split(",") if key.strip()]


def _is_plain(text: str) -> bool:
    # A trigger's arguments are stored as they are where Airflow had no key.
    return text.startswith("{")


def _filled(column: Column, encrypted) -> tuple:
    return column.is_not(None), column != "", encrypted


def _texts(session: Session, column: Column, encrypted) -> list[str]:
    found = session.scalars(select(column).where(*_filled(column, encrypted)))
    return [text for text in found if not _is_plain(text)]


def _ids(table, column: Column, encrypted) -> list:
    with create_session() as session:
        return list(session.scalars(select(table.c.id).where(*_filled(column, encrypted))))


def _rotate_one(table, column: Column, row, keys: list[Fernet]) -> bool:
    with create_session() as session:
        text = session.scalar(select(column).where(table.c.id == row))
        if not text or _is_plain(text) or reads(keys[0], text):
            return False
        new = MultiFernet(keys).rotate(text.encode()).decode()
        changed = session.execute(update(table).where(table.c.id == row, column == text).values({column: new}))
        return changed.rowcount > 0


def _name(table, name: Column, row) -> str:
    with create_session() as session:
        return str(session.scalar(select(name).where(table.c.id == row)))
