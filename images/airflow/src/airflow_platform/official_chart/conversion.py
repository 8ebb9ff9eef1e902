"""A conversion while it is made: our values, what is said of each of theirs, and the Secrets to make by hand."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import Any

from airflow_platform.official_chart.given import Given

#: Names of variables and options that hold a secret.
_SECRET_NAME = re.compile(
    r"passw|passphrase|(^|_)(pass|pwd)($|_)|secret|token|credential|webhook|dsn$|^airflow_conn_|sql_alchemy_conn"
    r"|broker_url|result_backend|authorization"
    r"|(encryption|signing|master|license|account|storage|shared|ssh|access|private|api|fernet)_?key",
    re.IGNORECASE,
)
#: A word of a command that is named after a secret, not after the file that has it or the Secret's name.
_FLAG = r"[\w.-]*(?:passw|passphrase|secret|token|(?<![a-z])(?:pass|pwd)(?![\w.-]))[\w.-]*(?<!file|path|name)"
#: Texts that hold one, whatever they are named: an address with a user or a password, a private key, tokens of known
#: makes, a word of a command with its value, if that is not a variable or a switch.
_SECRET_TEXT = re.compile(
    r"://[^/\s:@]*:[^/\s@]+@|https?://[^/?#\s@\"',$]+@|hooks\.slack\.com/services/|-----BEGIN |\bAKIA[A-Z0-9]{12}"
    r"|\bgh[pousr]_\w{20}|\bgithub_pat_|\bglpat-|\beyJ\w{10,}\.|\bxox[bp]-"
    rf"|(?i:(?<![\w.-])(?:{_FLAG}=|--?{_FLAG}\s+(?!-))[\"']?(?!true\b|false\b)[^\s\"'$])"
)

_RELEASE = re.compile(r"\{\{-?\s*(?:\$|\.)?\.?Release\.(Name|Namespace)\s*-?\}\}")


class Kind(Enum):
    """What becomes of a value."""

    CARRIED = "carried over"
    FORM = "has another form here"
    GONE = "has no counterpart"
    HAND = "to be done by hand"


@dataclass(frozen=True)
class Said:
    """One value of theirs, what becomes of it, and where it is in ours."""

    official: str
    kind: Kind
    ours: tuple[str, ...] = ()
    note: str = ""
    place: str = ""


@dataclass
class Conversion:
    """Its state.

    ``release`` and ``namespace`` are those of the helm release. ``task_namespaces`` and ``image`` are chosen by who
    converts, as the official chart knows nothing of them.
    """

    given: Given
    release: str = "airflow"
    namespace: str = "airflow"
    task_namespaces: Sequence[str] = ()
    image: str = ""
    ours: dict[str, Any] = field(default_factory=dict)
    said: list[Said] = field(default_factory=list)
    #: Secrets to make: name, then key, then the text with a placeholder where the secret goes.
    secrets: dict[str, dict[str, str]] = field(default_factory=dict)
    #: Options of remote logging, each with the path that it was at, until all are known.
    logs: dict[str, tuple[str, Any]] = field(default_factory=dict)
    #: Other commands to run.
    commands: list[str] = field(default_factory=list)
    #: The path of theirs that is being done.
    row: str = ""

    # What the files say, and what follows from it.

    @property
    def executors(self) -> set[str]:
        """The official chart's executors, by the last part of their names."""
        names = re.split(r"[,;]", str(self.given.get("executor", "CeleryExecutor")))
        found = {name.rpartition(":")[2].rpartition(".")[2].strip() for name in names}
        both = {"CeleryKubernetesExecutor": "CeleryExecutor", "LocalKubernetesExecutor": "LocalExecutor"}
        return found | {one for name in found if name in both for one in (both[name], "KubernetesExecutor")}

    @property
    def celery(self) -> bool:
        """Whether tasks went by Celery."""
        return "CeleryExecutor" in self.executors

    @property
    def fullname(self) -> str:
        """What begins the names of the official release's objects."""
        if not self.given.get("useStandardNaming"):
            return self.release
        name = self.given.get("nameOverride") or "airflow"
        return self.given.get("fullnameOverride") or (
            self.release if name in self.release else f"{self.release}-{name}"
        )

    def components(self) -> list[str]:
        """Ours, each by where its values are."""
        celery = ["launcher.celery"] if self.celery else []
        return ["apiServer", "scheduler", "dagProcessor", "triggerer", *celery, "workers", "migrations"]

    # Our values.

    def get(self, path: str) -> Any:
        """What is at a path of ours; None if nothing is."""
        found: Any = self.ours
        for key in path.split("."):
            if not isinstance(found, Mapping) or key not in found:
                return None
            found = found[key]
        return found

    def put(self, path: str, value: Any, *, weak: bool = False) -> bool:
        """Set one of ours, if it may be: a text with a secret is not copied, nor a template that is not understood.

        With ``weak``, not where there is one already. Lists of what is extra grow. True if it was set, or was there.
        """
        value = self.filled(value)
        if value is None:
            return False
        *folders, last = path.split(".")
        where = self.ours
        for key in folders:
            where = where.setdefault(key, {})
        if last.startswith("extra") and isinstance(value, list):
            old = where.get(last, [])
            names = {_identity(one) for one in value}
            if weak:
                here = {_identity(one) for one in old}
                where[last] = [*(one for one in value if _identity(one) not in here), *old]
            else:
                where[last] = [*(one for one in old if _identity(one) not in names), *value]
        elif not (weak and last in where):
            where[last] = value
        return True

    def put_all(self, paths: Sequence[str], value: Any, *, weak: bool) -> bool:
        """Set several of ours to one value; True if all were."""
        done = [self.put(path, value, weak=weak) for path in paths]
        return all(done)

    def filled(self, value: Any) -> Any:
        """The value with name and namespace of the release put in; None, and said, if it cannot be copied."""
        texts = list(_texts(value))
        if any(_SECRET_TEXT.search(text) for text in texts):
            self.hand(
                "holds a secret, which is not copied. Put it in a Secret, and set it anew with valueFrom or a volume."
            )
            return None
        value = _replaced(value, lambda text: _RELEASE.sub(self._released, text))
        if any("{{" in text for text in _texts(value)):
            self.hand("is a template of helm's; values of this chart are taken as they are. Write what it gives.")
            return None
        return value

    def _released(self, match: re.Match[str]) -> str:
        return self.release if match[1] == "Name" else self.namespace

    def environment(self, entries: Any) -> list[dict[str, Any]]:
        """Variables for a container: a secret among them becomes a reference to a Secret that is to be made."""
        found = []
        for entry in entries if isinstance(entries, list) else []:
            name = str(entry.get("name", ""))
            if "value" not in entry:
                found.append({key: one for key, one in entry.items() if key in ("name", "valueFrom")})
            elif is_secret(name, entry["value"]):
                secret = self.secret("airflow-environment", name, note=f"variable {name}")
                found.append({"name": name, "valueFrom": {"secretKeyRef": secret}})
            else:
                found.append({"name": name, "value": _as_text(entry["value"])})
        return found

    # What is said.

    def secret(self, name: str, key: str, shown: str = "", *, note: str = "") -> dict[str, str]:
        """A Secret to make by hand, as a `secretKeyRef`. ``shown`` is what it holds, with placeholders."""
        self.secrets.setdefault(name, {})[key] = shown or f"<{key}>"
        self.hand(
            f"{note + ': ' if note else ''}a secret, which is not copied: make the Secret {name} with the key {key}"
        )
        return {"name": name, "key": key}

    def say(self, official: str, kind: Kind, ours: Sequence[str] = (), note: str = "") -> None:
        """Say what becomes of a value, once."""
        one = Said(
            official,
            kind,
            tuple(ours),
            note,
            self.given.place(official) if self.given.get(official) is not None else "",
        )
        if one not in self.said:
            self.said.append(one)

    def hand(self, note: str, official: str = "") -> None:
        """Say that something of the value at hand, or of the named one, is to be done by hand."""
        self.say(official or self.row, Kind.HAND, (), note)

    @property
    def by_hand(self) -> list[Said]:
        """What is to be done by hand."""
        return [one for one in self.said if one.kind is Kind.HAND]


def is_secret(name: str, value: Any) -> bool:
    """Whether a variable's or an option's plain value has to be taken for a secret."""
    if name.lower().endswith("_cmd") or isinstance(value, bool | None):
        return False
    return bool(_SECRET_NAME.search(name) or _SECRET_TEXT.search(str(value)))


def _as_text(value: Any) -> str:
    # As helm's `quote` writes it.
    return str(value).lower() if isinstance(value, bool) else str(value)


def _identity(entry: Any) -> Any:
    return (entry.get("name"), entry.get("mountPath")) if isinstance(entry, Mapping) else repr(entry)


def _texts(value: Any) -> Any:
    if isinstance(value, Mapping):
        for key, one in value.items():
            yield str(key)
            yield from _texts(one)
    elif isinstance(value, list):
        # A word of a command may have its value in the next.
        yield " ".join(str(one) for one in value if isinstance(one, str | int))
        for one in value:
            yield from _texts(one)
    elif isinstance(value, str):
        yield value


def _replaced(value: Any, new: Any) -> Any:
    if isinstance(value, Mapping):
        return {_replaced(key, new): _replaced(one, new) for key, one in value.items()}
    if isinstance(value, list):
        return [_replaced(one, new) for one in value]
    return new(value) if isinstance(value, str) else value
