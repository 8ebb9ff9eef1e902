"""The nodes' image: kind's own where a registry can be reached, else one built from Go modules and Debian."""

from __future__ import annotations

import contextlib
import hashlib
import subprocess
import tempfile
from dataclasses import replace
from pathlib import Path

from local.cluster import images, settings, toolchain
from local.cluster.console import run, step
from local.cluster.images import Image

HERE = settings.REPO / "local" / "node"
SYSTEM = Image("node-system", HERE / "system")
#: What the image is called in the engine, without its tag.
REPOSITORY = "airflow-platform/node"
#: Our own images in the node, for what kind applies from /kind/manifests.
KUBERNETES_IMAGE, NETWORK_IMAGE = "local/kubernetes:1", "local/network:1"
#: What the pinned kind runs its nodes on unless told otherwise (sigs.k8s.io/kind, pkg/apis/config/defaults/image.go).
KIND_IMAGE = "kindest/node:v1.37.0@sha256:a1ed56cfb0e7b93589bdf97c8cd566405a265939e3620fc4f5de89adff580ae5"
CONTROL_PLANE = ("kube-apiserver", "kube-controller-manager", "kube-scheduler", "etcd", "coredns")


def image() -> str | None:
    """The image for ``kind create cluster --image``; None where kind's own default can be pulled.

    :raises Problem: a build failed.
    """
    if images.reachable(images.DOCKER_HUB) and images.pull(KIND_IMAGE):
        return None
    return _build()


def _build() -> str:
    programs, containerd = toolchain.programs("go"), toolchain.programs("containerd")
    scratch = {name: programs / name for name in (*CONTROL_PLANE, "local-path-provisioner")}
    network = {name: programs / name for name in ("kube-proxy", "kube-router")}
    system = {
        target: replace(SYSTEM, target=target, programs=scratch if target in ("kubernetes", "coredns") else network)
        for target in ("kubernetes", "coredns", "network", "pause")
    }
    node = Image(
        "node",
        HERE / "image",
        programs={
            **{name: programs / name for name in ("kubeadm", "kubelet", "kubectl")},
            **{name: containerd / name for name in ("containerd", "containerd-shim-runc-v2", "ctr")},
            # The archive stands in the key by its folder, which is named after what it holds.
            "images.tar": Path(_system_key(system)) / "images.tar",
        },
        build_args={"VERSION": toolchain.KUBERNETES},
    )
    if images.exists(node.built()):
        return node.built()
    names = {target: images.build(part) for target, part in system.items()}
    with _archive(programs / "kubeadm", names) as archive:
        folder = archive.parent / _system_key(system)
        folder.mkdir()
        archive = archive.rename(folder / archive.name)
        return images.build(replace(node, programs={**node.programs, "images.tar": archive}))


def _system_key(system: dict[str, Image]) -> str:
    return hashlib.sha256(" ".join(part.built() for part in system.values()).encode()).hexdigest()[:12]


@contextlib.contextmanager
def _archive(kubeadm: Path, names: dict[str, str]):
    """All images of the control plane in one archive, under the names that kubeadm wants."""
    wanted = run([kubeadm, "config", "images", "list", f"--kubernetes-version={toolchain.KUBERNETES}"], log="node")
    tags = [KUBERNETES_IMAGE, NETWORK_IMAGE]
    for line in wanted.splitlines():
        if "/" not in line or " " in line:
            continue
        program = line.rpartition("/")[2].partition(":")[0]
        source = {"kube-proxy": "network", "pause": "pause", "coredns": "coredns"}.get(program, "kubernetes")
        subprocess.run(["docker", "tag", names[source], line], check=True)
        tags.append(line)
    subprocess.run(["docker", "tag", names["kubernetes"], KUBERNETES_IMAGE], check=True)
    subprocess.run(["docker", "tag", names["network"], NETWORK_IMAGE], check=True)
    with tempfile.TemporaryDirectory(dir=settings.CACHE) as folder:
        archive = Path(folder) / "images.tar"
        with step("Node image: saving the control plane's images"):
            run(["docker", "save", "-o", archive, *tags], log="node", doing="docker save")
        yield archive
