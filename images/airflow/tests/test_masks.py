import base64
import json
import pickle

import pytest
from airflow.sdk._shared.secrets_masker import secrets_masker
from kubernetes.client import models as k8s

from airflow_platform import masks


@pytest.fixture
def masker(monkeypatch):
    """What this process masks, as a task's process has it once it has asked for a connection."""
    masker = secrets_masker.SecretsMasker()
    monkeypatch.setattr(masks, "_secrets_masker", lambda: masker)
    return masker


def container(name="base", **more):
    return k8s.V1Container(name=name, **more)


def pod(*containers, init=None):
    return k8s.V1Pod(metadata=k8s.V1ObjectMeta(), spec=k8s.V1PodSpec(containers=[*containers], init_containers=init))


def as_seen(made, noted, **state):
    """The pod as the API server has it, with what its base container said at its end."""
    env = [{"name": one.name, "value": one.value} for one in made.spec.containers[0].env or []]
    base = {"name": "base", "env": env, "args": made.spec.containers[0].args}
    statuses = [{"name": "base", "state": {"terminated": {"exitCode": 1, **state}}}]
    return {
        "metadata": {"annotations": noted},
        "spec": {"containers": [base]},
        "status": {"containerStatuses": statuses},
    }


def said(found):
    return found["status"]["containerStatuses"][0]["state"]["terminated"]["message"]


def test_a_pod_without_a_secret_has_no_note(masker):
    assert masks.places(pod(container(args=["hunter22"]))) == {}
    masker.add_mask("hunter22")
    assert masks.places(pod(container(args=["else"], env=[k8s.V1EnvVar(name="A")]))) == {}


def test_the_note_says_where_and_not_what(masker):
    masker.add_mask("hunter22")
    made = pod(
        container(env=[k8s.V1EnvVar(name="URL", value="x://me:hunter22@host")], args=["-c", "hunter22 hunter22"]),
        # As an author may write it.
        {"name": "other", "command": ["hunter22"], "env": [{"name": "A", "value": "a"}]},
        init=[container("first", args=["--key=hunter22"])],
    )
    (noted,) = masks.places(made).values()
    assert json.loads(noted) == [
        ["first", "args", 0, 6, 14],
        ["base", "env", "URL", 7, 15],
        ["base", "args", 1, 0, 8],
        ["base", "args", 1, 9, 17],
        ["other", "command", 0, 0, 8],
    ]


def test_what_stands_there_is_masked_the_longest_first(masker):
    masker.add_mask("hunter22")
    masker.add_mask("hunter22-and-more")
    env = [k8s.V1EnvVar(name="A", value="hunter22"), k8s.V1EnvVar(name="B", value="hunter22-and-more")]
    made = pod(container(env=env))
    seen = as_seen(made, masks.places(made), message="hunter22-and-more, hunter22.")
    assert said(masks.masked(seen)) == "***, ***."


def test_what_a_function_is_called_with_is_masked(masker):
    masker.add_mask("hünter22")
    value = base64.b64encode(pickle.dumps({"args": [], "kwargs": {"password": "hünter22"}})).decode()
    made = pod(container(env=[k8s.V1EnvVar(name="__PYTHON_INPUT", value=value)]))
    noted = masks.places(made)
    assert "22" not in noted[masks.ANNOTATION]
    assert said(masks.masked(as_seen(made, noted, message="failed: x://me:hünter22@host"))) == "failed: x://me:***@host"


def test_what_is_percent_encoded_is_masked_as_it_is_and_decoded(masker):
    masker.add_mask("p@ss/w.rd")
    made = pod(container(args=["x://me:p%40ss%2Fw.rd@host", "y://p%40ss/w.rd@host"]))
    seen = as_seen(made, masks.places(made), message="p%40ss%2Fw.rd p%40ss/w.rd p@ss/w.rd pass")
    assert said(masks.masked(seen)) == "*** *** *** pass"


@pytest.mark.parametrize("noted", ["", "{", "[1]", '[["base", "env", "B", 0, 4]]', '[["base", "args", 7, 0, 4]]', "[]"])
def test_a_note_that_somebody_changed_breaks_nothing(noted):
    seen = as_seen(pod(container(args=["a"])), {masks.ANNOTATION: noted}, message="words")
    assert said(masks.masked(seen)) == "words"


def test_no_more_places_are_noted_than_kubernetes_takes(masker):
    masker.add_mask("hunter22")
    (noted,) = masks.places(pod(container("c" * 63, args=["hunter22"] * 20_000))).values()
    assert len(noted) < 200_000
