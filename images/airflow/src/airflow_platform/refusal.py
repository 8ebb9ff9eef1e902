"""A pod that the API server does not create: whether its task waits, for how long, and when it fails."""

from __future__ import annotations

import json
import re

from airflow.providers.cncf.kubernetes.kubernetes_helper_functions import KubernetesApiException
from kubernetes.client import ApiException
from urllib3.exceptions import HTTPError

from airflow_platform.diagnosis import Refusal, Verdict

#: What a request to the API server raises, by the operator's client.
NO_ANSWER = (ApiException, HTTPError, KubernetesApiException)

#: How the client words the refusal of a command in a pod, which has no status of its own (kubernetes.stream).
_HANDSHAKE = re.compile(r"Handshake status (\d{3})")

#: Seconds for which is waited: for what passes by itself, as a busy API server; and for what somebody may put right, as
#: a namespace or a right that is missing.
_PASSES, _MAY_HEAL = 1800, 120
#: Seconds between two tries, which grow with the time that has passed, from the first to the second.
_SHORTEST, _LONGEST = 5, 60
#: The same for a quota, where the line of those that wait knows when there is room.
_AT_MOST_FOR_QUOTA = 15


def read(error: Exception) -> Refusal:
    """The API server's answer, or that there is none."""
    if isinstance(error, ApiException) and (found := _HANDSHAKE.search(str(error.reason))):
        return Refusal(int(found[1]), message=str(error.reason))
    if not isinstance(error, ApiException) or not error.status:
        return Refusal(0, message=f"{type(error).__name__}: {error}")
    try:
        status = json.loads(error.body)
        return Refusal(error.status, str(status.get("reason") or error.reason), str(status["message"]))
    except (TypeError, ValueError, KeyError, AttributeError):
        return Refusal(error.status, str(error.reason or ""), error.body if isinstance(error.body, str) else "")


def in_its_words(answer: Refusal) -> str:
    """The line of the log for who knows Kubernetes."""
    if not answer.status:
        return f"The API server said nothing: {answer.message}"
    return f"The API server said: {answer.status} {answer.reason}: {answer.message}"


def budget(verdict: Verdict) -> float | None:
    """Seconds for which a task waits that was refused so; None: without end, 0: it fails at once."""
    if verdict.kind == "capacity":
        return None
    if not verdict.final:
        return _PASSES
    return _MAY_HEAL if verdict.kind == "platform" else 0


def pause(verdict: Verdict, refused: int, waited: float) -> float:
    """Seconds until the next try, at least: ``refused`` is how often it was, ``waited`` the seconds since the first."""
    if verdict.kind == "capacity":
        return min(refused, _AT_MOST_FOR_QUOTA)
    return pause_of_reading(waited)


def budget_of_reading(answer: Refusal) -> float:
    """Seconds for which a pod that was created is asked for again: a server that answers no is not asked as long."""
    return _PASSES if answer.status in (0, 429) or answer.status >= 500 else _MAY_HEAL


def pause_of_reading(waited: float) -> float:
    """Seconds until it is asked for again, at least; ``waited`` are the seconds since the first time."""
    return min(max(waited / 4, _SHORTEST), _LONGEST)
