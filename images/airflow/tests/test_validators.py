from types import SimpleNamespace

import pydantic
import pytest
from airflow.sdk.execution_time import comms, task_runner

from airflow_platform import validators


@pytest.fixture(autouse=True)
def airflows_own(monkeypatch):
    for module in (comms, task_runner):
        monkeypatch.setattr(module, "TypeAdapter", pydantic.TypeAdapter)


TASK = SimpleNamespace(
    template_fields=("image", "arguments"), image="report:1.2.0", arguments=["--day", {"deep": [1, None]}]
)


def _built(monkeypatch) -> list:
    built = []
    own = pydantic.TypeAdapter.__init__
    monkeypatch.setattr(
        pydantic.TypeAdapter, "__init__", lambda self, kind, **more: built.append(kind) or own(self, kind, **more)
    )
    return built


def test_a_phase_builds_no_validator(monkeypatch):
    validators.build()
    built = _built(monkeypatch)
    decoder = comms.CommsDecoder(socket=None)
    fields = task_runner._serialize_rendered_fields(TASK)
    assert built == []
    assert fields == {"image": "report:1.2.0", "arguments": ["--day", {"deep": [1, None]}]}
    assert decoder.body_decoder.validate_python({"type": "OKResponse", "ok": True}) == comms.OKResponse(ok=True)


def test_airflow_builds_one_for_each_field_and_two_for_messages(monkeypatch):
    """Where it no longer does, `validators` is not needed."""
    built = _built(monkeypatch)
    comms.CommsDecoder(socket=None)
    task_runner._serialize_rendered_fields(TASK)
    assert built == [comms.ToTask, comms.ToTask, pydantic.JsonValue, pydantic.JsonValue]
