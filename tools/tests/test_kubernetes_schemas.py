import json

import pytest
from tools import kubernetes_schemas

META = "io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta"
QUANTITY = "io.k8s.apimachinery.pkg.api.resource.Quantity"


def ref(name):
    return {"$ref": f"#/definitions/{name}"}


def kind(name, group, properties, **more):
    return {
        "type": "object",
        "properties": {"apiVersion": {"type": "string"}, "kind": {"type": "string"}, **properties},
        "x-kubernetes-group-version-kind": [{"group": group, "version": "v1", "kind": name}],
        **more,
    }


SWAGGER = {
    "definitions": {
        META: {"type": "object", "properties": {"labels": {"additionalProperties": {"type": "string"}}}},
        QUANTITY: {"type": "string"},
        "Deployment": kind("Deployment", "apps", {"metadata": ref(META), "spec": ref("Spec")}, required=["spec"]),
        "Spec": {
            "description": "What is wanted.",
            "type": "object",
            "required": ["replicas"],
            "properties": {
                "replicas": {"type": "integer", "description": "How many."},
                "limits": {"type": "object", "additionalProperties": ref(QUANTITY)},
                "parents": {"type": "array", "items": ref("Spec")},
            },
        },
        "Pod": kind("Pod", "", {"metadata": ref(META)}),
        "PodList": kind("PodList", "", {"metadata": ref(META)}),
        "Status": kind("Status", "", {"message": {"type": "string"}}),
        "Unused": {"type": "object"},
    }
}


@pytest.fixture
def deployment():
    return kubernetes_schemas.schemas(SWAGGER)["deployment-apps-v1.json"]


def test_a_file_for_each_kind_that_is_applied():
    """Named as kubeconform looks for it."""
    assert kubernetes_schemas.schemas(SWAGGER).keys() == {"deployment-apps-v1.json", "pod-v1.json"}


def test_group_version_and_kind_are_those_of_the_file(deployment):
    assert deployment["properties"]["apiVersion"] == {"const": "apps/v1"}
    assert deployment["properties"]["kind"] == {"const": "Deployment"}
    assert deployment["required"] == ["apiVersion", "kind", "metadata", "spec"]
    assert kubernetes_schemas.schemas(SWAGGER)["pod-v1.json"]["properties"]["apiVersion"] == {"const": "v1"}


def test_a_field_that_kubernetes_does_not_know_is_an_error(deployment):
    assert deployment["additionalProperties"] is False
    assert deployment["definitions"]["Spec"]["additionalProperties"] is False
    assert deployment["definitions"]["Spec"]["required"] == ["replicas"]


def test_a_schema_holds_all_that_it_refers_to_and_no_more(deployment):
    assert deployment["definitions"].keys() == {META, QUANTITY, "Spec"}


def test_maps_lists_and_quantities(deployment):
    spec = deployment["definitions"]["Spec"]["properties"]
    assert spec["parents"] == {"type": "array", "items": ref("Spec")}
    assert spec["limits"] == {"type": "object", "additionalProperties": ref(QUANTITY)}
    assert spec["replicas"] == {"type": "integer"}
    # The API server takes 1 for "1".
    assert deployment["definitions"][QUANTITY] == {"type": ["string", "number"]}


def definition():
    spec = {
        "type": "object",
        "required": ["host"],
        "properties": {
            "host": {"type": "string", "minLength": 1, "description": "Where."},
            "port": {"anyOf": [{"type": "integer"}, {"type": "string"}], "x-kubernetes-int-or-string": True},
            "labels": {"type": "object", "additionalProperties": {"type": "string"}, "nullable": True},
            "any": {"type": "object", "x-kubernetes-preserve-unknown-fields": True, "properties": {}},
        },
    }
    root = {"type": "object", "properties": {"metadata": {"type": "object"}, "spec": spec}, "required": ["spec"]}
    versions = [
        {"name": "v1", "served": True, "schema": {"openAPIV3Schema": root}},
        {"name": "v1alpha1", "served": False},
    ]
    names = {"kind": "Door"}
    return {"spec": {"group": "house.example.com", "names": names, "versions": versions}}


def test_a_definition_of_another_kind_is_as_strict():
    made = kubernetes_schemas.of_definition(definition())
    assert list(made) == ["door-house-v1.json"]
    door = made["door-house-v1.json"]
    assert door["properties"]["apiVersion"] == {"const": "house.example.com/v1"}
    assert door["required"] == ["apiVersion", "kind", "metadata", "spec"]
    # What Kubernetes itself judges.
    assert door["properties"]["metadata"] == {"type": "object"}
    spec = door["properties"]["spec"]
    assert spec["additionalProperties"] is False
    assert spec["required"] == ["host"]
    assert spec["properties"] == {
        "host": {"type": "string", "minLength": 1},
        "port": {"type": ["integer", "string"]},
        "labels": {"type": ["object", "null"], "additionalProperties": {"type": "string"}},
        "any": {"type": "object", "properties": {}},
    }


def test_the_files_are_written(tmp_path, monkeypatch, capsys):
    (tmp_path / "swagger.json").write_text(json.dumps(SWAGGER))
    door = tmp_path / "door.yaml"
    door.write_text(json.dumps(definition()))
    folder = tmp_path / "out" / "schemas"
    monkeypatch.setattr("sys.argv", ["kubernetes_schemas.py", str(tmp_path), str(folder), str(door)])
    assert kubernetes_schemas.main() == 0
    assert sorted(path.name for path in folder.iterdir()) == [
        "deployment-apps-v1.json",
        "door-house-v1.json",
        "pod-v1.json",
    ]
    assert "3 schemas" in capsys.readouterr().out


def test_a_folder_without_the_document(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("sys.argv", ["kubernetes_schemas.py", str(tmp_path), str(tmp_path / "out")])
    assert kubernetes_schemas.main() == 1
    assert "swagger.json does not exist: name the folder api/openapi-spec" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
