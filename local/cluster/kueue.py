"""Kueue's controller: built from its Go module, and installed by the chart that is in there."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from local.cluster import registry, releases, settings, toolchain
from local.cluster.console import step, wait_for
from local.cluster.images import Image
from local.cluster.kind import kubectl

NAMESPACE = "kueue-system"
#: The namespace of a second team.
SECOND_TEAM = "research"

_VALUES = settings.REPO / "values" / "kind-kueue.yaml"
_RELEASE = "kueue"
#: An object that its webhook is asked about.
_ANY = '{"apiVersion": "kueue.x-k8s.io/v1beta2", "kind": "ResourceFlavor", "metadata": {"name": "any"}}'
#: Objects that go once the controller has let go of them.
_HELD = "localqueues,clusterqueues,cohorts,resourceflavors,workloads"


@contextlib.contextmanager
def installed() -> Iterator[None]:
    """Kueue, the platform with it, and the namespace of a second team; afterwards all is as `make up` installs it.

    :raises Problem: with the state of what is not ready.
    """
    try:
        _install()
        releases.install_platform(_VALUES)
        yield
    finally:
        releases.install_platform()
        _remove()


def _install() -> None:
    program = toolchain.programs("kueue") / "kueue"
    image = Image("local/kueue", settings.REPO / "local" / "kueue", programs={"manager": program})
    chart = toolchain.source("kueue", "sigs.k8s.io/kueue") / "charts" / "kueue"
    registry.push([image])
    releases.namespaces(NAMESPACE, SECOND_TEAM)
    words = ["--namespace", NAMESPACE, "--values", str(image.folder / "values.yaml")]
    words += ["--set-string", f"controllerManager.manager.image.repository={settings.registry()}/{image.name}"]
    words += ["--set-string", f"controllerManager.manager.image.tag={image.tag()}"]
    with step("Release kueue: the chart of its Go module"):
        releases.helm("upgrade", "--install", _RELEASE, str(chart), *words, "--wait", "--timeout=300s")
        # It makes the certificate of its webhook itself, and is ready a moment before the API server trusts it.
        wait_for("Kueue's webhook", lambda: kubectl("create", "--dry-run=server", "-f", "-", stdin=_ANY), seconds=120)


def _remove() -> None:
    with step("Release kueue: removing it"):
        if releases.helm("list", "--short", "--namespace", NAMESPACE, "--filter", f"^{_RELEASE}$").strip():
            # Only the controller takes its finalizers off.
            for namespace in (settings.TASK_NAMESPACE, SECOND_TEAM):
                kubectl("delete", "pods", "-n", namespace, "-l", "kueue.x-k8s.io/managed=true", "--wait=false")
            kubectl("wait", "--for=delete", _HELD, "--all", "--all-namespaces", "--timeout=120s")
            releases.helm("uninstall", _RELEASE, "--namespace", NAMESPACE, "--wait")
        kubectl("delete", "namespace", NAMESPACE, SECOND_TEAM, "--ignore-not-found", "--wait")
