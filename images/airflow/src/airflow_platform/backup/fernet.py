"""Which Fernet keys a database needs: those by which something in it is encrypted."""

from __future__ import annotations

from typing import Any

from cryptography.fernet import Fernet, InvalidToken

from airflow_platform.backup.bucket import fingerprints

#: What Airflow encrypts, by table (Airflow 3.0 to 3.3; what is tested of connections besides is of minutes).
_ENCRYPTED = {
    "connection": (
        "SELECT password FROM connection WHERE is_encrypted AND password <> ''",
        "SELECT extra FROM connection WHERE is_extra_encrypted AND extra <> ''",
    ),
    "variable": ("SELECT val FROM variable WHERE is_encrypted AND val <> ''",),
    "trigger": ("SELECT kwargs FROM trigger WHERE kwargs <> ''",),
}


def in_use(cursor: Any, keys: str) -> list[str]:
    """Fingerprints of those of comma-separated keys that something in the database is encrypted by.

    What none of them reads is left out: that was so before.
    """
    left = {fingerprints(key)[0]: Fernet(key.strip()) for key in keys.split(",") if key.strip()}
    found: list[str] = []
    for table, queries in _ENCRYPTED.items():
        cursor.execute("SELECT to_regclass(%s)", (table,))
        if cursor.fetchone()[0] is None:
            continue
        for query in queries:
            cursor.execute(query)
            for (text,) in cursor.fetchall():
                if used := next((one for one, key in left.items() if reads(key, text)), ""):
                    found.append(used)
                    del left[used]
                if not left:
                    return found
    return found


def reads(key: Fernet, text: str) -> bool:
    """Whether a text of the database is encrypted by that key."""
    try:
        key.decrypt(text.encode())
    except InvalidToken:
        return False
    return True
