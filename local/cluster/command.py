"""The command ``airflow-platform``, from the image that the cluster runs, as a container of the host's."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping
from pathlib import Path

from local.cluster import images


def run(access: dict, *words: str, folders: Mapping[Path, str] | None = None) -> int:
    """Run a sub-command, which prints as it goes on; its exit code.

    :param access: the content of access.json: who asks the api-server, and S3.
    :param words: the sub-command and its arguments.
    :param folders: {folder of the host: where the command sees it}.
    """
    s3 = access["s3"]
    # By name alone: what a process was started with, others of the machine see.
    environment = {
        "AIRFLOW_PLATFORM_URL": access["ui"],
        "AIRFLOW_PLATFORM_USER": access["user"],
        "AIRFLOW_PLATFORM_PASSWORD": access["password"],
        "AWS_ENDPOINT_URL_S3": s3["endpoint"],
        "AWS_ACCESS_KEY_ID": s3["key"],
        "AWS_SECRET_ACCESS_KEY": s3["secret"],
    }
    command = ["docker", "run", "--rm", "--network", "host", "--read-only", "--tmpfs", "/tmp"]
    command += ["--cap-drop", "ALL", "--user", f"{os.getuid()}:{os.getgid()}"]
    command += [word for name in environment for word in ("--env", name)]
    command += [word for host, inside in (folders or {}).items() for word in ("--volume", f"{host}:{inside}")]
    command += [images.build(images.AIRFLOW), "airflow-platform", *words]
    return subprocess.run(command, env={**os.environ, **environment}, check=False).returncode
