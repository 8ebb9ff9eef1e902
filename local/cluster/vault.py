"""A Vault in the cluster, built from its Go module: keys and values, and the cluster's ServiceAccounts.

Its licence, the Business Source License, allows what is done here: tests. Nothing of it is shipped.
"""

from __future__ import annotations

import json
import subprocess
from collections.abc import Mapping, Sequence

from local.cluster import kind, registry, releases, settings, toolchain
from local.cluster.console import step
from local.cluster.images import Image
from local.cluster.kind import kubectl

NAMESPACE = "vault"
ADDRESS = f"http://vault.{NAMESPACE}.svc:8200"
#: Where it keeps keys and values, version 2 of that engine.
MOUNT = "airflow"
#: What tokens of ServiceAccounts have to be for.
AUDIENCE = "vault"

_TOKEN = "/tmp/token"
_LABELS = {"app": "vault"}
#: A client has the token of who set it up; a pod's memory is the only place that has it.
_CLIENT = f'export VAULT_ADDR=http://127.0.0.1:8200 VAULT_TOKEN="$(cat {_TOKEN} 2>/dev/null)"; exec /vault "$@"'


def install() -> None:
    """Make it anew, empty, unsealed. :raises Problem: with the state of what is not ready."""
    program = toolchain.programs("vault") / "vault"
    image = Image("local/vault", settings.REPO / "local" / "vault", programs={"vault": program})
    registry.push([image])
    releases.namespaces(NAMESPACE)
    with step("Vault: empty, unsealed"):
        kubectl("delete", "pod", "vault", "-n", NAMESPACE, "--ignore-not-found", "--wait")
        kind.apply([_pod(image), _service()])
        kubectl("wait", "--for=condition=Ready", "pod/vault", "-n", NAMESPACE, "--timeout=120s")
        made = json.loads(_run("operator", "init", "-key-shares=1", "-key-threshold=1", "-format=json"))
        _run("write", "sys/unseal", "-", stdin=json.dumps({"key": made["unseal_keys_b64"][0]}))
        _exec("sh", "-c", f"umask 077; cat > {_TOKEN}", stdin=made["root_token"])
        _run("secrets", "enable", f"-path={MOUNT}", "-version=2", "kv")
        _trust_cluster()


def remove() -> None:
    """It is gone, with all that it holds."""
    with step("Vault: removing it"):
        kubectl("delete", "namespace", NAMESPACE, "--ignore-not-found", "--wait")


def put(path: str, content: Mapping[str, str]) -> None:
    """Write a secret anew."""
    _run("kv", "put", f"-mount={MOUNT}", path, "-", stdin=json.dumps(dict(content)))


def allow(role: str, accounts: Sequence[str]) -> None:
    """Let ServiceAccounts (``namespace:name``) read what is kept, by a login as this role."""
    rules = f'path "{MOUNT}/*" {{ capabilities = ["read", "list"] }}'
    _run("policy", "write", role, "-", stdin=rules)
    content = {
        "role_type": "jwt",
        "user_claim": "sub",
        "bound_audiences": [AUDIENCE],
        "bound_claims": {"sub": [f"system:serviceaccount:{account}" for account in accounts]},
        "token_policies": [role],
        "token_ttl": "10m",
    }
    _run("write", f"auth/kubernetes/role/{role}", "-", stdin=json.dumps(content))


def seal() -> None:
    """It answers nobody any more."""
    _run("operator", "seal")


def _trust_cluster() -> None:
    """Logins by tokens of the cluster's ServiceAccounts, which its key has signed: a small build has no other way, and
    clients log in as they do where Vault asks the cluster."""
    (control_plane,) = (name for name in kind.nodes() if name.endswith("control-plane"))
    words = ["docker", "exec", control_plane, "cat", "/etc/kubernetes/pki/sa.pub"]
    key = subprocess.check_output(words, text=True)
    _run("auth", "enable", "-path=kubernetes", "jwt")
    _run("write", "auth/kubernetes/config", "-", stdin=json.dumps({"jwt_validation_pubkeys": [key]}))


def _run(*words: str, stdin: str | None = None) -> str:
    return _exec("sh", "-c", _CLIENT, "vault", *words, stdin=stdin)


def _exec(*words: str, stdin: str | None = None) -> str:
    return kubectl("exec", *(["-i"] if stdin else []), "-n", NAMESPACE, "vault", "--", *words, stdin=stdin)


def _pod(image: Image) -> dict:
    container = {
        "name": "vault",
        "image": registry.reference(image),
        "ports": [{"containerPort": 8200}],
        "readinessProbe": {"tcpSocket": {"port": 8200}, "periodSeconds": 2},
        "resources": {"requests": {"cpu": "10m", "memory": "64Mi"}, "limits": {"memory": "512Mi"}},
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "capabilities": {"drop": ["ALL"]},
            "readOnlyRootFilesystem": True,
        },
        "volumeMounts": [{"name": "tmp", "mountPath": "/tmp"}],
    }
    spec = {
        "automountServiceAccountToken": False,
        "imagePullSecrets": [{"name": settings.PULL_SECRET}],
        "securityContext": {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}},
        "containers": [container],
        "volumes": [{"name": "tmp", "emptyDir": {"medium": "Memory", "sizeLimit": "1Mi"}}],
    }
    meta = {"name": "vault", "namespace": NAMESPACE, "labels": _LABELS}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": meta, "spec": spec}


def _service() -> dict:
    spec = {"selector": _LABELS, "ports": [{"port": 8200}]}
    meta = {"name": "vault", "namespace": NAMESPACE}
    return {"apiVersion": "v1", "kind": "Service", "metadata": meta, "spec": spec}
