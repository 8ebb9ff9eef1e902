"""Where backups are: a folder of the bucket for each, named by the time, with the dump and what is known of it."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

#: Of the variable that says where: the chart's JSON of bucket, prefix, endpoint, region, namespace and release.
VARIABLE = "AIRFLOW_PLATFORM_BACKUP"

_DUMP, _RECORD = "dump", "backup.json"
#: What `Bucket.probe` writes, again and again: a bucket that keeps backups may refuse that anything is deleted.
_PROBE = "probe"


class BackupError(Exception):
    """What was asked cannot be done; the message says why, and what to do."""


@dataclass(frozen=True)
class Record:
    """What is known of a dump. It is written after the dump: a folder without it holds no whole one."""

    #: The folder's name: the time, in UTC.
    name: str
    release: str
    #: Version table to revision, as the database had them.
    schema: Mapping[str, str]
    #: The version of Airflow that brought that schema; empty where this image does not know it.
    airflow: str
    #: Fingerprints of the Fernet keys without which something in the dump cannot be read.
    fernet_keys: tuple[str, ...]
    #: Bytes of the dump, and their SHA-256.
    size: int
    sha256: str
    #: The schema of PostgreSQL that it is of: all that Airflow has.
    within: str = field(default="public", kw_only=True)
    #: Where the migration was to lead that it was made before, as ``schema``; empty in older records, which also name
    #: keys that nothing needs.
    target: Mapping[str, str] = field(default_factory=dict)


def fingerprints(keys: str) -> tuple[str, ...]:
    """Of comma-separated Fernet keys, the beginning of each one's SHA-256: a random key is not guessed by that."""
    return tuple(hashlib.sha256(key.strip().encode()).hexdigest()[:16] for key in keys.split(",") if key.strip())


def digest(path: Path) -> str:
    """The SHA-256 of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def folder(where: Mapping[str, Any]) -> str:
    """The folder in the bucket with the backups of one release, of what `VARIABLE` says; no "/" at its ends.

    Raises:
        KeyError: it names no release.
    """
    return "/".join([part for part in [where.get("prefix")] if part] + [where["namespace"], where["release"]])


class Bucket:
    """The folder of one release in the bucket: another namespace may have one of the same name."""

    def __init__(self, client: Any, bucket: str, prefix: str) -> None:
        self._client, self._bucket, self._prefix = client, bucket, prefix

    @classmethod
    def of(cls, environment: Mapping[str, str] = os.environ) -> Bucket:
        """The one that `VARIABLE` names.

        Raises:
            BackupError: it names none.
        """
        import boto3
        from botocore.config import Config

        try:
            found = json.loads(environment[VARIABLE])
            bucket, prefix = found["bucket"], folder(found)
        except (KeyError, ValueError):
            raise BackupError(f"{VARIABLE} does not name a bucket and a release") from None
        client = boto3.client(
            "s3",
            endpoint_url=found.get("endpoint") or None,
            region_name=found.get("region") or None,
            config=Config(connect_timeout=10, read_timeout=60, retries={"mode": "standard", "total_max_attempts": 5}),
        )
        return cls(client, bucket, prefix)

    def __str__(self) -> str:
        return f"s3://{self._bucket}/{self._prefix}"

    def put(self, record: Record, dump: Path) -> None:
        """Keep a dump.

        Raises:
            BackupError: S3 refused, or was not there.
        """
        with _said(self):
            self._client.upload_file(str(dump), self._bucket, self._key(record.name, _DUMP))
            body = json.dumps(asdict(record), indent=2).encode()
            self._client.put_object(Bucket=self._bucket, Key=self._key(record.name, _RECORD), Body=body)

    def probe(self) -> None:
        """Write something, and read it.

        Raises:
            BackupError: S3 refused, or was not there.
        """
        key = f"{self._prefix}/{_PROBE}"
        with _said(self):
            self._client.put_object(Bucket=self._bucket, Key=key, Body=b"A dump could be written.")
            self._client.get_object(Bucket=self._bucket, Key=key)["Body"].read()

    def names(self) -> list[str]:
        """The names of whole backups, the oldest first.

        Raises:
            BackupError: S3 refused, or was not there.
        """
        with _said(self):
            pages = self._client.get_paginator("list_objects_v2")
            found = pages.paginate(Bucket=self._bucket, Prefix=f"{self._prefix}/")
            keys = [one["Key"] for page in found for one in page.get("Contents", [])]
        return sorted(key.split("/")[-2] for key in keys if key.endswith(f"/{_RECORD}"))

    def newest(self, *, of_release: bool = False) -> Record | None:
        """The newest backup; None, where there is none.

        Args:
            of_release: the newest of a schema that a release of Airflow has: others are of migrations that ended
                halfway.

        Raises:
            BackupError: there are backups, but none of a release's schema; or as `names`.
        """
        names = self.names()
        found = (self.record(name) for name in reversed(names))
        record = next((one for one in found if one.airflow or not of_release), None)
        if record is None and names:
            raise BackupError(f"{self} has no backup of a schema that a release of Airflow has. Name one: {names[-1]}")
        return record

    def record(self, name: str) -> Record:
        """What is known of a backup.

        Raises:
            BackupError: there is none of that name.
        """
        if name not in (known := self.names()):
            newest = ", ".join(reversed(known[-5:])) or "none"
            raise BackupError(f"{self} has no backup {name}. The newest are: {newest}")
        with _said(self):
            body = self._client.get_object(Bucket=self._bucket, Key=self._key(name, _RECORD))["Body"].read()
        found = json.loads(body)
        return Record(**{**found, "fernet_keys": tuple(found["fernet_keys"])})

    def get(self, record: Record, dump: Path) -> None:
        """Fetch a dump.

        Raises:
            BackupError: it is not what was stored, or S3 was not there.
        """
        with _said(self):
            self._client.download_file(self._bucket, self._key(record.name, _DUMP), str(dump))
        if digest(dump) != record.sha256:
            raise BackupError(f"{self}/{record.name}/{_DUMP} is not what was stored there. Take another backup")

    def _key(self, name: str, part: str) -> str:
        return f"{self._prefix}/{name}/{part}"


@contextmanager
def _said(bucket: Bucket) -> Iterator[None]:
    """Errors of S3 as `BackupError`."""
    from boto3.exceptions import Boto3Error
    from botocore.exceptions import BotoCoreError, ClientError

    try:
        yield
    except (Boto3Error, BotoCoreError, ClientError) as error:
        raise BackupError(f"{bucket}: {error}") from error
