"""The images of a DAG's pods, however its file names them."""

from datetime import datetime

import pytest
from airflow.providers.cncf.kubernetes.operators.pod import KubernetesPodOperator
from airflow.providers.standard.operators.bash import BashOperator
from airflow.sdk import DAG
from kubernetes.client import V1Container, V1Pod, V1PodSpec

from airflow_platform.release.images import by_task


def _says():
    return BashOperator(task_id="says", bash_command="x").output


def _pod(*images):
    containers = [V1Container(name=f"c{number}", image=image) for number, image in enumerate(images)]
    return V1Pod(spec=V1PodSpec(containers=containers))


@pytest.fixture
def dag():
    with DAG("d", schedule=None, start_date=datetime(2026, 1, 1)) as dag:
        yield dag


@pytest.mark.parametrize(
    ("arguments", "images"),
    [
        ({"image": "a:1"}, {"a:1"}),
        ({"image": "a:{{ params.version }}"}, {""}),
        ({"image": "a:1", "init_containers": [V1Container(name="i", image="b:1")]}, {"a:1", "b:1"}),
        ({"full_pod_spec": _pod("a:1", "b:1")}, {"a:1", "b:1"}),
        # The argument goes before what the template's first container has.
        ({"image": "c:1", "full_pod_spec": _pod("a:1", "b:1")}, {"c:1", "b:1"}),
        ({"pod_template_dict": {"spec": {"containers": [{"name": "base", "image": "a:1"}]}}}, {"a:1"}),
    ],
)
def test_of_a_task(dag, arguments, images):
    KubernetesPodOperator(task_id="t", **arguments)
    assert by_task([dag]) == {image: ["d.t"] for image in images}


@pytest.mark.parametrize(
    ("expand", "images"),
    [
        (lambda partial: partial(image="a:1").expand(arguments=[["1"], ["2"]]), {"a:1"}),
        (lambda partial: partial().expand(image=["a:1", "b:1"]), {"a:1", "b:1"}),
        (lambda partial: partial().expand_kwargs([{"image": "a:1"}, {"image": "b:1", "name": "b"}]), {"a:1", "b:1"}),
        (lambda partial: partial(image="a:1").expand_kwargs([{"name": "a"}, {"image": "b:1"}]), {"a:1", "b:1"}),
        (lambda partial: partial().expand(image=_says()), {""}),
        (lambda partial: partial().expand_kwargs(_says()), {""}),
        (lambda partial: partial(image="a:1").expand_kwargs(_says()), {"a:1"}),
    ],
)
def test_of_a_mapped_task(dag, expand, images):
    expand(lambda **arguments: KubernetesPodOperator.partial(task_id="t", **arguments))
    assert set(by_task([dag])) == images
