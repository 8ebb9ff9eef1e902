"""Kubernetes' quantities, and what a pod asks for (k8s.io/apimachinery, pkg/api/resource/quantity.go)."""

from __future__ import annotations

import re
from collections.abc import Mapping
from decimal import Decimal
from functools import lru_cache
from typing import Any

#: Resource names and amounts, in CPUs, bytes or pieces.
Amounts = dict[str, Decimal]

_QUANTITY = re.compile(r"([+-]?(?:[0-9]+[.]?[0-9]*|[.][0-9]+))(?:([eE][+-]?[0-9]+)|([numkMGTPE]|[KMGTPE]i))?")
_SUFFIXES = {suffix: Decimal(10) ** (3 * power) for power, suffix in enumerate("num", start=-3)}
_SUFFIXES |= {suffix: Decimal(10) ** (3 * power) for power, suffix in enumerate("kMGTPE", start=1)}
_BINARY = {f"{letter}i": Decimal(1024) ** power for power, letter in enumerate("KMGTPE", start=1)}
_BYTES = ("memory", "storage", "hugepages")


# A cluster has few different ones, and they are read again with each look.
@lru_cache(maxsize=4096)
def parse(text: str | int | float) -> Decimal:
    """The amount of a quantity.

    Raises:
        ValueError: it is none.
    """
    found = _QUANTITY.fullmatch(str(text))
    if not found:
        raise ValueError(f"{text!r} is not a quantity")
    number, exponent, suffix = found.groups()
    if suffix:
        return Decimal(number) * (_SUFFIXES | _BINARY)[suffix]
    return Decimal(f"{number}{exponent or ''}")


def amounts(quantities: Mapping[str, Any] | None) -> Amounts:
    """A mapping of quantities, as ``requests`` or ``allocatable``, in amounts."""
    return {name: parse(quantity) for name, quantity in (quantities or {}).items()}


def phrase(resource: str, amount: Decimal) -> str:
    """An amount as a person reads it: "0.5 CPU", "1.5Gi of memory", "1 nvidia.com/gpu", "limits of 2 CPU"."""
    return _within(resource, number(resource, amount))


def portion(resource: str, part: Decimal, whole: Decimal) -> str:
    """A part of an amount as a person reads it: "0.5 of 4 CPU", "1Gi of 16Gi of memory", "3 of 5 pods"."""
    return _within(resource, f"{number(resource, part)} of {number(resource, whole)}")


def number(resource: str, amount: Decimal) -> str:
    """The amount alone: "0.5", "1.5Gi"."""
    if not any(word in resource for word in _BYTES):
        return _plain(amount)
    unit, size = next(((u, s) for u, s in reversed(_BINARY.items()) if abs(amount) >= s), ("", Decimal(1)))
    return f"{_plain(amount / size)}{unit}"


def _within(resource: str, number: str) -> str:
    of, dot, rest = resource.partition(".")
    if dot and of in ("requests", "limits"):
        return f"limits of {_within(rest, number)}" if of == "limits" else _within(rest, number)
    if any(word in resource for word in _BYTES):
        return f"{number} of {resource}"
    return f"{number} {'CPU' if resource == 'cpu' else resource}"


def add(total: Amounts, more: Amounts) -> None:
    """Add amounts to others, in place."""
    for name, amount in more.items():
        total[name] = total.get(name, Decimal(0)) + amount


def together(wanted: Amounts) -> str:
    """Amounts as a person reads them: "2 CPU and 4Gi of memory"."""
    return " and ".join(phrase(name, amount) for name, amount in wanted.items())


def _plain(amount: Decimal) -> str:
    rounded = round(amount, 2)
    return f"{rounded:f}".rstrip("0").rstrip(".") if "." in f"{rounded:f}" else f"{rounded:f}"


def asked(pod: Mapping[str, Any], what: str = "requests") -> Amounts:
    """What the scheduler, or a quota, counts of a pod's ``requests`` or ``limits``.

    The largest of what runs at once: init containers one by one, each beside the sidecars before it; then all
    containers and sidecars (k8s.io/component-helpers, resource/helpers.go, ``PodRequests``).
    """
    spec = pod["spec"]
    running = _total(_of(one, what) for one in spec.get("containers") or [])
    sidecars: Amounts = {}
    largest_init: Amounts = {}
    for one in spec.get("initContainers") or []:
        own = _of(one, what)
        if one.get("restartPolicy") == "Always":
            sidecars = own = _total((sidecars, own))
        else:
            own = _total((sidecars, own))
        largest_init = _largest(largest_init, own)
    result = _largest(_total((running, sidecars)), largest_init)
    # What is set for the pod as a whole replaces the sum of its containers.
    result |= _of(spec, what)
    return _total((result, amounts(spec.get("overhead")))) if what == "requests" else result


def _of(part: Mapping[str, Any], what: str) -> Amounts:
    return amounts((part.get("resources") or {}).get(what))


def _total(parts: Any) -> Amounts:
    total: Amounts = {}
    for part in parts:
        add(total, part)
    return total


def _largest(one: Amounts, other: Amounts) -> Amounts:
    return {name: max(one.get(name, Decimal(0)), other.get(name, Decimal(0))) for name in {**one, **other}}
