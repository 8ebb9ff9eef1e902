"""Objects in S3, fetched to be compared; access is what boto3 finds, in AWS_ENDPOINT_URL_S3, AWS_ACCESS_KEY_ID …"""

from __future__ import annotations

import contextlib
import hashlib
import os
import tempfile
from dataclasses import dataclass
from datetime import datetime
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from airflow_platform.command_error import CommandError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

SCHEME = "s3://"

#: The most objects of a folder that are compared.
_OBJECTS = 1_000

_CHUNK = 1 << 20


class StorageError(CommandError):
    """An address that cannot be read, whatever S3 says of others; the message says why, and what to do."""


@dataclass(frozen=True)
class File:
    """An object, or a file that was kept.

    Args:
        name: its address, or its path in the folder where it was kept.
        size: in bytes.
        mark: the same for the same bytes; files with different ones may still be the same where it is an ETag.
        path: where it can be read; None: it is larger than is compared.
        written: when; None: that does not matter.
    """

    name: str
    size: int
    mark: str
    path: Path | None
    written: datetime | None = None


class Storage:
    """S3, and a folder for what is fetched.

    Args:
        folder: where to.
        limit: the most bytes of an object that are fetched.
    """

    def __init__(self, folder: Path, limit: int) -> None:
        self._folder, self.limit = folder, limit
        self._client: Any = None

    def fetch(self, address: str) -> File | None:
        """The object; None where there is none.

        Raises:
            StorageError: S3 does not answer with it.
            CommandError: S3 does not answer at all.
        """
        bucket, key = split(address)
        client = self._s3()
        with _reading(address):
            try:
                found = client.get_object(Bucket=bucket, Key=key)
            except client.exceptions.ClientError as error:
                if error.response["Error"]["Code"] in ("404", "NoSuchKey", "NotFound"):
                    return None
                raise
            size, written = found["ContentLength"], found["LastModified"]
            with contextlib.closing(found["Body"]) as body:
                if size > self.limit:
                    return File(address, size, f"ETag {found['ETag']}", None, written)
                return self._keep(address, body.iter_chunks(_CHUNK), written)

    def below(self, address: str) -> list[str]:
        """The addresses of the objects in a folder, whose address ends with a slash, and below it.

        Raises:
            StorageError: S3 does not answer with them, or there are too many.
            CommandError: S3 does not answer at all.
        """
        bucket, prefix = split(address)
        client = self._s3()
        with _reading(address):
            pages = client.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix)
            every = (one["Key"] for page in pages for one in page.get("Contents", ()))
            keys = list(islice(every, _OBJECTS + 1))
        if len(keys) > _OBJECTS:
            raise StorageError(f"{address} has more than {_OBJECTS:,} objects, which is what can be compared")
        return [f"{SCHEME}{bucket}/{key}" for key in keys if not key.endswith("/")]

    def _keep(self, name: str, chunks: Iterable[bytes], written: datetime) -> File:
        digest, size = hashlib.sha256(), 0
        handle, path = tempfile.mkstemp(dir=self._folder)
        with os.fdopen(handle, "wb") as file:
            for chunk in chunks:
                digest.update(chunk)
                size += len(chunk)
                file.write(chunk)
        return File(name, size, f"sha256 {digest.hexdigest()}", Path(path), written)

    def _s3(self) -> Any:
        if self._client is None:
            try:
                import boto3
            except ImportError:
                raise CommandError(
                    "boto3, which reads S3, is missing: pip install 'airflow-platform[compare]'"
                ) from None
            self._client = boto3.client("s3", region_name=os.environ.get("AWS_REGION", "us-east-1"))
        return self._client


def kept(path: Path, name: str) -> File:
    """A file of this machine."""
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    return File(name, path.stat().st_size, f"sha256 {digest}", path)


def split(address: str) -> tuple[str, str]:
    """Bucket and key.

    Raises:
        StorageError: it is no address in S3.
    """
    bucket, _, key = address.removeprefix(SCHEME).partition("/")
    if not address.startswith(SCHEME) or not bucket:
        raise StorageError(f"{address!r} is no address in S3, such as s3://bucket/folder/file.parquet")
    return bucket, key


@contextlib.contextmanager
def _reading(address: str) -> Iterator[None]:
    from botocore.exceptions import BotoCoreError, ClientError, ParamValidationError

    try:
        yield
    except (BotoCoreError, ClientError) as error:
        of_address = isinstance(error, (ClientError, ParamValidationError))
        raise (StorageError if of_address else CommandError)(
            f"{address} cannot be read: {error}. Are AWS_ENDPOINT_URL_S3, AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY "
            "those of the bucket?"
        ) from error
