"""Servers that tests run beside the platform, which the chart's NetworkPolicies do not know of."""

from __future__ import annotations

from local.cluster import settings


def policies(name: str, labels: dict[str, str], port: int) -> list[dict]:
    """Let the platform's pods reach the pods of these labels by a TCP port: two NetworkPolicies, of both ends."""
    ports = [{"protocol": "TCP", "port": port}]
    egress = [{"to": [{"namespaceSelector": {}, "podSelector": {"matchLabels": labels}}], "ports": ports}]
    sender = {"podSelector": {}, "policyTypes": ["Egress"], "egress": egress}
    receiver = {"podSelector": {"matchLabels": labels}, "policyTypes": ["Ingress"], "ingress": [{"ports": ports}]}
    return [
        {
            "apiVersion": "networking.k8s.io/v1",
            "kind": "NetworkPolicy",
            "metadata": {"name": name, "namespace": namespace},
            "spec": spec,
        }
        for namespace, spec in ((settings.NAMESPACE, sender), (settings.TASK_NAMESPACE, receiver))
    ]
