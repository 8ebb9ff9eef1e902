"""S3 on loopback for tests: objects that a test puts there, read one by one and listed by prefix."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from datetime import datetime, timezone
from email.utils import format_datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, unquote, urlsplit
from xml.sax.saxutils import escape


@dataclass(frozen=True)
class Object:
    """What a test puts."""

    content: bytes
    written: datetime

    @property
    def etag(self) -> str:
        return f'"{hashlib.md5(self.content).hexdigest()}"'


class S3(ThreadingHTTPServer):
    """``objects``: by "bucket/key". ``refuse``: the status that every request gets."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.objects: dict[str, Object] = {}
        self.refuse = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"

    def put(self, address: str, content: bytes | str, written: str = "2026-01-01T00:00:30Z") -> None:
        body = content.encode() if isinstance(content, str) else content
        self.objects[address.removeprefix("s3://")] = Object(body, datetime.fromisoformat(written))


class _Handler(BaseHTTPRequestHandler):
    server: S3

    def do_GET(self) -> None:
        parts = urlsplit(self.path)
        path, query = unquote(parts.path)[1:], parse_qs(parts.query)
        if self.server.refuse:
            self._send(self.server.refuse, b"<Error><Code>AccessDenied</Code><Message>Access Denied</Message></Error>")
        elif "list-type" in query:
            self._list(path, query.get("prefix", [""])[0])
        elif found := self.server.objects.get(path):
            when = format_datetime(found.written.astimezone(timezone.utc), usegmt=True)
            self._send(200, found.content, {"ETag": found.etag, "Last-Modified": when})
        else:
            self._send(404, b"<Error><Code>NoSuchKey</Code><Message>none</Message></Error>")

    def _list(self, bucket: str, prefix: str) -> None:
        found = [key.removeprefix(f"{bucket}/") for key in self.server.objects if key.startswith(f"{bucket}/{prefix}")]
        keys = "".join(f"<Contents><Key>{escape(key)}</Key><Size>1</Size></Contents>" for key in sorted(found))
        body = f"<ListBucketResult><Name>{bucket}</Name><IsTruncated>false</IsTruncated>{keys}</ListBucketResult>"
        self._send(200, body.encode())

    def _send(self, status: int, body: bytes, headers: dict[str, str] | None = None) -> None:
        self.send_response(status)
        for name, value in {"Content-Length": str(len(body)), **(headers or {})}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass
