"""Files by URL: ``s3://bucket/key``, or a path of the local disk."""

import os
from urllib.parse import urlsplit

from pyarrow import fs


def locate(url: str) -> tuple[fs.FileSystem, str]:
    """Return the file system of a URL and the path in it.

    S3 is reached as the standard AWS variables say: ``AWS_ACCESS_KEY_ID``, ``AWS_SECRET_ACCESS_KEY``,
    ``AWS_REGION`` (``us-east-1`` when unset) and ``AWS_ENDPOINT_URL_S3`` (AWS itself when unset).
    """
    if not url.startswith("s3://"):
        return fs.LocalFileSystem(), os.path.abspath(url)
    endpoint = urlsplit(os.environ.get("AWS_ENDPOINT_URL_S3", ""))
    s3 = fs.S3FileSystem(
        region=os.environ.get("AWS_REGION", "us-east-1"),
        allow_delayed_open=True,  # a small object in one request
        scheme=endpoint.scheme or "https",
        endpoint_override=endpoint.netloc or None,
        connect_timeout=10,
        request_timeout=60,
    )
    return s3, url.removeprefix("s3://").rstrip("/")


def write(url: str, data: bytes) -> None:
    """Put ``data`` at ``url`` whole or not at all; what was there is replaced.

    Raises:
        OSError: the storage refuses or does not answer.
    """
    filesystem, path = locate(url)
    if url.startswith("s3://"):  # an object appears when its upload is complete
        with filesystem.open_output_stream(path) as stream:
            stream.write(data)
        return
    filesystem.create_dir(os.path.dirname(path))
    with filesystem.open_output_stream(f"{path}.unfinished") as stream:
        stream.write(data)
    filesystem.move(f"{path}.unfinished", path)


def read(url: str) -> bytes:
    """Return what is at ``url``.

    Raises:
        FileNotFoundError: nothing is there.
        OSError: the storage refuses or does not answer.
    """
    filesystem, path = locate(url)
    with filesystem.open_input_stream(path) as stream:
        return stream.read()
