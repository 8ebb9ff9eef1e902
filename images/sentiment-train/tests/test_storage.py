"""Files by URL."""

import pytest
from pyarrow import fs

from sentiment_train import storage


def test_s3_is_reached_as_the_environment_says(monkeypatch):
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", "http://s3.example:9000")
    monkeypatch.setenv("AWS_REGION", "eu-west-3")
    filesystem, path = storage.locate("s3://tickets/acme/2026-01-31/")
    assert path == "tickets/acme/2026-01-31"
    assert filesystem.region == "eu-west-3"
    here = fs.S3FileSystem(
        region="eu-west-3",
        scheme="http",
        endpoint_override="s3.example:9000",
        connect_timeout=10,
        request_timeout=60,
        allow_delayed_open=True,
    )
    assert filesystem.equals(here)


def test_s3_is_amazons_when_nothing_is_said(monkeypatch):
    monkeypatch.delenv("AWS_ENDPOINT_URL_S3", raising=False)
    monkeypatch.delenv("AWS_REGION", raising=False)
    filesystem, _ = storage.locate("s3://tickets/acme")
    assert filesystem.region == "us-east-1"
    assert filesystem.equals(
        fs.S3FileSystem(region="us-east-1", connect_timeout=10, request_timeout=60, allow_delayed_open=True)
    )


def test_a_write_replaces_what_was_there(tmp_path):
    url = f"{tmp_path}/acme/2026-01-31/file"
    storage.write(url, b"a longer first version")
    storage.write(url, b"second")
    assert (tmp_path / "acme/2026-01-31/file").read_bytes() == b"second"
    assert [file.name for file in (tmp_path / "acme/2026-01-31").iterdir()] == ["file"]


def test_reading_what_is_not_there(tmp_path):
    with pytest.raises(FileNotFoundError):
        storage.read(f"{tmp_path}/nothing")
