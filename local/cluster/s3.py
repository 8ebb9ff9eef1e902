"""A client of the local cluster's S3, as access.json names it."""

from __future__ import annotations

from typing import Any

import boto3
from botocore.config import Config


def client(access: dict, attempts: int | None = None) -> Any:
    """The client.

    :param access: the content of access.json.
    :param attempts: how often a request is tried at most; None: as boto3 does by default.
    """
    s3 = access["s3"]
    return boto3.client(
        "s3",
        endpoint_url=s3["endpoint"],
        aws_access_key_id=s3["key"],
        aws_secret_access_key=s3["secret"],
        region_name="us-east-1",
        config=Config(retries={"max_attempts": attempts}) if attempts else None,
    )
