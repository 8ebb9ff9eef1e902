"""What a diagnosis says, and what it takes of its input besides the objects of Kubernetes."""

from __future__ import annotations

import re
from dataclasses import asdict, dataclass
from typing import Any, Literal

#: Whose turn it is: "user", the author of the task; "capacity", nobody's, room has to come free; "transient", nobody's,
#: it passes; "infrastructure", the cluster took the pod or cannot carry it; "platform", whoever runs the platform.
Kind = Literal["user", "capacity", "transient", "infrastructure", "platform"]

#: Characters of a text of Kubernetes that a sentence quotes at most.
_QUOTED = 300
#: What the runtime's errors begin with (google.golang.org/grpc, status).
_FRAME = re.compile(r"rpc error: code = \w+ desc = ")


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """Why a pod does not run, or how it ended. All fields are JSON.

    Args:
        cause: a stable short id, as "image-not-found".
        kind: whose turn it is.
        sentence: one plain line for a person: what happened to what and, behind a semicolon, what to do.
        object_kind, object: what is at fault, as "image" and its name; the sentence names it.
        container: whose state tells; None where it is the pod's.
        exit_code, signal: how that container ended; the signal by its name.
        final: whether the pod has ended or will never run; else it waits, is about to stop, or may heal.
        retry_helps: whether a later try of the same task may do better; None where that is unknown, or where the first
            may still run. It does not say that to run twice does no harm.
        since: when this was seen first, in seconds since the epoch; None where nothing tells.
        certain: whether Kubernetes itself says so; else it is the likely reading of what it says.
    """

    cause: str
    kind: Kind
    sentence: str
    object_kind: str
    object: str
    container: str | None = None
    exit_code: int | None = None
    signal: str | None = None
    final: bool = False
    retry_helps: bool | None = None
    since: float | None = None
    certain: bool = True

    @property
    def what(self) -> str:
        """Of the sentence, what happened, without what to do and without a full stop."""
        return self.sentence.partition(";")[0].rstrip(".")

    def as_dict(self) -> dict[str, Any]:
        """The verdict as JSON has it."""
        return asdict(self)


@dataclass(frozen=True)
class Refusal:
    """The API server's answer to a pod that it does not create: HTTP status, and its Status object's two texts."""

    status: int
    reason: str = ""
    message: str = ""


def quoted(text: str | None) -> str:
    """A text of Kubernetes within a sentence: one line, not too long, without gRPC's frame and without a full stop."""
    line = _FRAME.sub("", " ".join((text or "").split())).rstrip(" .:")
    return line if len(line) <= _QUOTED else f"{line[:_QUOTED].rstrip(' .:')} …"
