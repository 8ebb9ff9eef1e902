import pytest
from tools import image_list

RENDERED = """
kind: Deployment
spec:
  template:
    spec:
      initContainers: [{name: a, image: registry.k8s.io/git-sync/git-sync:v4.7.1}]
      containers: [{name: b, image: registry.example.com/airflow:3.3.2}]
---
kind: ConfigMap
data:
  worker-pod.yaml: |
    spec:
      containers: [{name: base, image: registry.example.com/airflow-worker:3.3.2}]
---
kind: Pod
spec:
  containers: [{name: b, image: registry.example.com/airflow:3.3.2}]
"""


def test_each_image_is_named_once_that_of_workers_too():
    assert image_list.images(RENDERED) == [
        "registry.example.com/airflow-worker:3.3.2",
        "registry.example.com/airflow:3.3.2",
        "registry.k8s.io/git-sync/git-sync:v4.7.1",
    ]


@pytest.mark.parametrize(
    ("image", "there"),
    [
        ("registry.k8s.io/git-sync/git-sync:v4.7.1", "in.example.com/git-sync/git-sync:v4.7.1"),
        ("localhost:5001/airflow:1", "in.example.com/airflow:1"),
        ("airflow-platform/airflow:3.3.2", "in.example.com/airflow-platform/airflow:3.3.2"),
        ("alpine:3.24.2", "in.example.com/alpine:3.24.2"),
        ("a.example.com/b@sha256:" + "0123456789abcdef" * 4, "in.example.com/b:0123456789ab"),
    ],
)
def test_only_the_registry_of_a_name_changes(image, there):
    assert image_list.mirrored(image, "in.example.com/") == there


def test_an_image_is_pulled_named_and_pushed():
    assert image_list.commands("alpine:3.24.2", "in.example.com") == [
        "docker pull alpine:3.24.2",
        "docker tag alpine:3.24.2 in.example.com/alpine:3.24.2",
        "docker push in.example.com/alpine:3.24.2",
    ]
