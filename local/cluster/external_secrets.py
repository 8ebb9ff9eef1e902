"""The External Secrets operator: built from its Go module, and installed by the chart that is in there.

The platform with it has no Secret of its own making: each comes from :mod:`local.cluster.vault`.
"""

from __future__ import annotations

import contextlib
import json
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import yaml
from local.cluster import registry, releases, settings, toolchain, vault
from local.cluster.console import step
from local.cluster.images import Image
from local.cluster.kind import apply, kubectl

NAMESPACE = "external-secrets"
#: The store of the platform's namespace, and the ServiceAccount that it logs in as.
STORE = "vault"
#: {path in Vault: the Secret of the stand-ins whose content is there}.
SECRETS = {
    "database": "airflow-database",
    "git": "git-credentials",
    "keys": "airflow-generated",
    "logs": "airflow-s3",
}
#: Components that ask Vault for connections and variables.
COMPONENTS = ("api-server", "dag-processor", "scheduler", "triggerer")

_MODULE = "github.com/external-secrets/external-secrets"
_RELEASE = "external-secrets"
_VALUES = settings.REPO / "values" / "kind-vault.yaml"


@contextlib.contextmanager
def installed() -> Iterator[None]:
    """Vault, the operator, and the platform with both; afterwards all is as `make up` installs it.

    :raises Problem: with the state of what is not ready.
    """
    try:
        _install()
        vault.install()
        _fill()
        apply([_account(), _store()])
        releases.install_platform(_VALUES)
        yield
    finally:
        releases.install_platform()
        _remove()
        vault.remove()


def _install() -> None:
    program = toolchain.programs("external-secrets") / "external-secrets"
    folder = settings.REPO / "local" / "external-secrets"
    image = Image("local/external-secrets", folder, programs={"external-secrets": program})
    source = toolchain.source("external-secrets", _MODULE)
    registry.push([image])
    releases.namespaces(NAMESPACE)
    values = {
        "image": {"repository": f"{settings.registry()}/{image.name}", "tag": image.tag()},
        "imagePullSecrets": [{"name": settings.PULL_SECRET}],
        # Its definitions are not in the chart of the module. Its webhook checks what people write, before it is stored.
        "installCRDs": False,
        "webhook": {"create": False},
        "certController": {"create": False},
        "concurrent": 4,
        "resources": {"requests": {"cpu": "10m", "memory": "64Mi"}},
    }
    with step("Release external-secrets: the chart of its Go module"):
        apply([one for one in yaml.safe_load_all((source / "deploy" / "crds" / "bundle.yaml").read_text()) if one])
        with _chart(source / "deploy" / "charts" / "external-secrets") as chart:
            file = chart / "local.yaml"
            file.write_text(yaml.safe_dump(values))
            words = ["upgrade", "--install", _RELEASE, str(chart), "--namespace", NAMESPACE, "--values", str(file)]
            releases.helm(*words, "--wait", "--timeout=180s")


@contextlib.contextmanager
def _chart(source: Path) -> Iterator[Path]:
    """A copy of its chart without the one that it depends on, which the module has not, and nothing here needs."""
    with tempfile.TemporaryDirectory() as folder:
        copied = Path(folder, source.name)
        shutil.copytree(source, copied, copy_function=shutil.copyfile)
        for path in (copied, *copied.rglob("*")):
            path.chmod(0o755 if path.is_dir() else 0o644)
        (copied / "Chart.lock").unlink()
        about = yaml.safe_load((copied / "Chart.yaml").read_text())
        del about["dependencies"]
        (copied / "Chart.yaml").write_text(yaml.safe_dump(about))
        yield copied


def _fill() -> None:
    """All that the platform needs is in Vault, and who may read it."""
    with step("Vault: what the platform's Secrets hold"):
        for path, name in SECRETS.items():
            listed = json.loads(kubectl("get", "secret", name, "-n", settings.NAMESPACE, "-o", "json"))["data"]
            vault.put(path, {key: releases.secret(settings.NAMESPACE, name, key) for key in listed})
        vault.allow("external-secrets", [f"{settings.NAMESPACE}:{STORE}"])
        vault.allow("airflow", [f"{settings.NAMESPACE}:{settings.RELEASE}-{one}" for one in COMPONENTS])


def _account() -> dict:
    meta = {"name": STORE, "namespace": settings.NAMESPACE}
    return {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": meta, "automountServiceAccountToken": False}


def _store() -> dict:
    account = {"name": STORE, "audiences": [vault.AUDIENCE]}
    login = {"mountPath": "kubernetes", "role": "external-secrets", "serviceAccountRef": account}
    provider = {"server": vault.ADDRESS, "path": vault.MOUNT, "version": "v2", "auth": {"kubernetes": login}}
    meta = {"name": STORE, "namespace": settings.NAMESPACE}
    spec = {"provider": {"vault": provider}}
    return {"apiVersion": "external-secrets.io/v1", "kind": "SecretStore", "metadata": meta, "spec": spec}


def _remove() -> None:
    with step("Release external-secrets: removing it"):
        if "externalsecrets.external-secrets.io" in kubectl("get", "crd", "-o", "name"):
            kubectl("delete", "secretstore,externalsecret", "--all", "-n", settings.NAMESPACE, "--wait")
        kubectl("delete", "serviceaccount", STORE, "-n", settings.NAMESPACE, "--ignore-not-found")
        releases.helm("uninstall", _RELEASE, "--namespace", NAMESPACE, "--ignore-not-found", "--wait")
        kubectl("delete", "namespace", NAMESPACE, "--ignore-not-found", "--wait")
        kubectl("delete", "crd", "-l", "external-secrets.io/component=controller", "--ignore-not-found", "--wait")
