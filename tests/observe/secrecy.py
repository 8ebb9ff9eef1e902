"""Where a secret is that may be nowhere but in its Secret: logs, objects, Helm's release, rows, objects of S3."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from urllib.parse import unquote, urlsplit

from local.cluster import releases, settings
from local.cluster.console import Problem
from local.cluster.kind import kubectl

NAMESPACES = (settings.NAMESPACE, settings.TASK_NAMESPACE)
#: Of all kinds that a namespace has, those that may not hold one; a Secret may.
OBJECTS = (
    "pods,deployments,statefulsets,replicasets,cronjobs,jobs,configmaps,services,serviceaccounts,events,networkpolicies"
)
#: What stands in Secrets beside what is secret.
PUBLIC = {"access-key", "ca.crt", "endpoint", "known_hosts", "region", "tls.crt", "username"}
#: Of what Helm keeps, which `in_release` reads, and of tokens that Kubernetes makes.
_OTHERS = {"helm.sh/release.v1", "kubernetes.io/service-account-token"}


def held() -> dict[str, str]:
    """All that the Secrets of the platform and of its tasks keep: {where: secret}, without what is no secret.

    Of an address it is the password, of a JSON object each one in it, of a key in lines one of these.
    """
    found: dict[str, str] = {}
    for namespace in NAMESPACES:
        for secret in json.loads(kubectl("get", "secrets", "-n", namespace, "-o", "json"))["items"]:
            if secret["type"] not in _OTHERS:
                for key, encoded in (secret.get("data") or {}).items():
                    where = f"{namespace}/{secret['metadata']['name']}/{key}"
                    value = base64.b64decode(encoded).decode()
                    if key not in PUBLIC:
                        found |= {f"{where}#{number}": part for number, part in enumerate(_parts(value))}
    return found


def _parts(value: str) -> Iterator[str]:
    try:
        known = json.loads(value)
    except ValueError:
        known = None
    if isinstance(known, dict):
        yield from _passwords(known)
    elif password := urlsplit(value).password:
        yield unquote(password)
    elif value.startswith("-----BEGIN"):
        yield value.splitlines()[1]
    else:
        yield value.strip()


def _passwords(known: dict) -> Iterator[str]:
    for name, value in known.items():
        if isinstance(value, dict):
            yield from _passwords(value)
        elif name in ("password", "auth"):
            yield value


def _hits(secrets: dict[str, str], text: str, place: str) -> list[str]:
    return [f"{name} in {place}" for name, secret in secrets.items() if secret in text]


def in_logs(secrets: dict[str, str]) -> list[str]:
    """In which log of a component's pod each stands that does."""
    found = []
    for name in kubectl("get", "pods", "-n", settings.NAMESPACE, "-o", "name").split():
        words = ("logs", name, "-n", settings.NAMESPACE, "--all-containers", "--tail=20000")
        try:
            found += _hits(secrets, kubectl(*words), f"the log of {name}")
        except Problem as problem:
            # One that has gone meanwhile, or has yet to start.
            if "not found" not in str(problem) and "waiting to start" not in str(problem):
                raise
    return found


def in_objects(secrets: dict[str, str]) -> list[str]:
    """In the objects of which namespace each stands that does."""
    found = []
    for namespace in NAMESPACES:
        found += _hits(secrets, kubectl("get", OBJECTS, "-n", namespace, "-o", "yaml"), f"an object of {namespace}")
    return found


def in_release(secrets: dict[str, str]) -> list[str]:
    """Those that stand in what Helm keeps of the release: values, manifests, notes."""
    kept = releases.helm("get", "all", settings.RELEASE, "--namespace", settings.NAMESPACE)
    return _hits(secrets, kept, "the release")


def in_database(secrets: dict[str, str]) -> int:
    """Lines of a dump of the database that one stands in."""
    script = "exec 3<&0; pg_dump -h /tmp -U postgres airflow </dev/null | grep -c -F -f /dev/fd/3 || true"
    words = ("exec", "-i", "-n", settings.STAND_INS, "postgres-0", "--", "sh", "-c", script)
    return int(kubectl(*words, stdin="\n".join(secrets.values())))


def in_bucket(secrets: dict[str, str], bucket: str) -> list[str]:
    """Three objects of a bucket at most that one stands in, by their files."""
    script = f"grep -r -l -F -f - /data/buckets/{bucket} | head -3"
    words = ("exec", "-i", "-n", settings.STAND_INS, "s3-0", "--", "sh", "-c", script)
    return kubectl(*words, stdin="\n".join(secrets.values())).splitlines()


def shown(bucket: str) -> list[str]:
    """All places where a secret stands that the platform holds; ``bucket`` is that of the logs."""
    secrets = held()
    found = [*in_logs(secrets), *in_objects(secrets), *in_release(secrets), *in_bucket(secrets, bucket)]
    return [*found, "the database"] if in_database(secrets) else found
