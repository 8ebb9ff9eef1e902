"""A pod that is refused: how long its task waits, in the API server's own words."""

import json

import pytest
from kubernetes.client import ApiException
from urllib3.exceptions import HTTPError, ReadTimeoutError

from airflow_platform import refusal
from airflow_platform.diagnosis import Refusal, diagnose


def answer(status, message="", reason="Forbidden", body=None):
    error = ApiException(status=status, reason=reason)
    error.body = json.dumps({"reason": reason, "message": message}) if body is None else body
    return error


def verdict(status, message):
    pod = {"metadata": {"name": "p", "namespace": "team"}}
    return diagnose(pod, refusal=Refusal(status, message=message), now=0)


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (answer(403, "no"), Refusal(403, "Forbidden", "no")),
        (answer(502, body="<html>", reason="Bad Gateway"), Refusal(502, "Bad Gateway", "<html>")),
        (answer(502, body="[1]", reason="Bad Gateway"), Refusal(502, "Bad Gateway", "[1]")),
        (ApiException(status=0, reason="SSLError"), Refusal(0, message="ApiException: (0)\nReason: SSLError\n")),
        (HTTPError("no route"), Refusal(0, message="HTTPError: no route")),
    ],
)
def test_an_answer_is_read_and_none_is_one_too(error, expected):
    assert refusal.read(error) == expected


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (answer(401, "Unauthorized", reason="Unauthorized"), "The API server said: 401 Unauthorized: Unauthorized"),
        (HTTPError("no route"), "The API server said nothing: HTTPError: no route"),
    ],
)
def test_its_words_are_told_as_they_are(error, line):
    assert refusal.in_its_words(refusal.read(error)) == line


def test_a_request_that_takes_too_long_is_no_answer():
    assert isinstance(ReadTimeoutError(None, "https://cluster", "late"), refusal.NO_ANSWER)


@pytest.mark.parametrize(
    ("status", "message", "budget"),
    [
        (403, "exceeded quota: q, requested: pods=1, used: pods=5, limited: pods=5", None),
        (403, "status unknown for quota: q, resources: pods", 1800),
        (409, 'Operation cannot be fulfilled on resourcequotas "q": the object has been modified', 1800),
        (429, "slowly", 1800),
        (503, "away", 1800),
        (0, "no route", 1800),
        (500, 'failed calling webhook "images": no endpoints', 1800),
        (404, 'namespaces "team" not found', 120),
        (403, 'error looking up service account team/robot: serviceaccount "robot" not found', 120),
        (403, 'User "airflow" cannot create resource "pods" in API group ""', 120),
        (403, "exceeded quota: q, requested: pods=1, used: pods=0, limited: pods=0", 0),
        (403, "failed quota: q: must specify limits.cpu for: base", 0),
        (403, 'violates PodSecurity "restricted:latest": runAsNonRoot != true', 0),
        (400, 'admission webhook "images" denied the request: no', 0),
        (422, 'Pod "p" is invalid: spec: Forbidden', 0),
    ],
)
def test_what_passes_is_waited_for_and_what_never_runs_is_not(status, message, budget):
    assert refusal.budget(verdict(status, message)) == budget


def test_tries_grow_rarer():
    busy = verdict(503, "away")
    assert [refusal.pause(busy, 1, waited) for waited in (0, 40, 1000)] == [5, 10, 60]
    full = verdict(403, "exceeded quota: q, requested: pods=1, used: pods=5, limited: pods=5")
    assert [refusal.pause(full, refused, 0) for refused in (1, 5, 500)] == [1, 5, 15]
