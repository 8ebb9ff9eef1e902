"""Generates, once, the values that no Secret of the user's holds:
``python -m airflow_platform.generated_secrets NAME KIND=KEY…``.

Runs in the cluster, with a token that may create Secrets and read and patch the one of that name. A key that exists is
never changed. See docs/adr/0002-generated-secrets.md.
"""

from __future__ import annotations

import argparse
import base64
import os
import secrets
import sys
from collections.abc import Callable

from airflow_platform.in_cluster import ACCOUNT, Api, api_server

KINDS: dict[str, Callable[[], str]] = {
    # 32 random bytes in URL-safe base64: what cryptography's Fernet takes.
    "fernet": lambda: base64.urlsafe_b64encode(os.urandom(32)).decode(),
    # 64 bytes: as long as the hash of HS512, which signs Airflow's tokens.
    "random": lambda: secrets.token_urlsafe(64),
    "password": lambda: secrets.token_urlsafe(18),
}


def ensure(api: Api, namespace: str, name: str, keys: dict[str, str]) -> list[str]:
    """Create the Secret, or add to it the keys that it lacks, and return those that were generated now.

    ``keys`` maps each key to its kind, one of KINDS.

    Raises:
        RuntimeError: the API server refused; the message is its own.
    """
    path = f"/api/v1/namespaces/{namespace}/secrets"

    def generate(wanted: list[str]) -> dict[str, str]:
        return {key: base64.b64encode(KINDS[keys[key]]().encode()).decode() for key in wanted}

    secret = {
        "apiVersion": "v1",
        "kind": "Secret",
        "type": "Opaque",
        # No label of the release: a GitOps controller that finds one would prune what no manifest names.
        "metadata": {"name": name, "labels": {"app.kubernetes.io/managed-by": "airflow-platform"}},
        "data": generate(list(keys)),
    }
    status, answer = api("POST", path, secret, "application/json")
    if status == 201:
        return list(keys)
    if status == 409:
        status, existing = api("GET", f"{path}/{name}", None, "application/json")
        answer = existing
        if status == 200:
            missing = [key for key in keys if not (existing.get("data") or {}).get(key)]
            if not missing:
                return []
            patch = {
                # Another Job that patched it meanwhile makes this a conflict, and the Job's next try reads again.
                "metadata": {"resourceVersion": existing["metadata"]["resourceVersion"]},
                "data": generate(missing),
            }
            status, answer = api("PATCH", f"{path}/{name}", patch, "application/merge-patch+json")
            if status == 200:
                return missing
    raise RuntimeError(
        f"Secret {namespace}/{name}: the API server answered {status}: {answer.get('message', 'no message')}"
    )


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m airflow_platform.generated_secrets", description=__doc__)
    parser.add_argument("name", help="name of the Secret")
    parser.add_argument("keys", nargs="+", metavar="KIND=KEY", help=f"KIND is one of {', '.join(KINDS)}")
    options = parser.parse_args(arguments)
    keys = {}
    for argument in options.keys:
        kind, _, key = argument.partition("=")
        if kind not in KINDS or not key:
            parser.error(f"{argument!r} is not KIND=KEY with KIND one of {', '.join(KINDS)}")
        if key in keys:
            parser.error(f"the key {key!r} is named twice: each value needs a key of its own")
        keys[key] = kind
    namespace = (ACCOUNT / "namespace").read_text().strip()
    try:
        made = ensure(api_server(), namespace, options.name, keys)
    except (RuntimeError, OSError) as error:
        sys.exit(str(error))
    print(f"Secret {namespace}/{options.name}: {'generated ' + ', '.join(made) if made else 'complete'}")


if __name__ == "__main__":
    main()
