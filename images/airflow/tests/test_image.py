"""What the image must hold after all that was taken out of it."""

import importlib
import shutil
import sysconfig
from ctypes import CDLL
from pathlib import Path

import boto3
import pytest

_PACKAGES = Path(sysconfig.get_path("purelib"))


@pytest.mark.parametrize(
    "module",
    [
        "airflow.executors.local_executor",
        "airflow.providers.amazon.aws.hooks.s3",
        "airflow.providers.amazon.aws.log.s3_task_handler",
        "airflow.providers.celery.executors.celery_executor",
        "airflow.providers.cncf.kubernetes.decorators.kubernetes",
        "airflow.providers.cncf.kubernetes.executors.kubernetes_executor",
        "airflow.providers.cncf.kubernetes.operators.pod",
        "airflow.providers.cncf.kubernetes.triggers.pod",
        "airflow.providers.fab.auth_manager.fab_auth_manager",
        "airflow.providers.git.bundles.git",
        "airflow.providers.smtp.notifications.smtp",
        "asyncpg",
        "duckdb",
        "psycopg2",
    ],
)
def test_what_the_platform_uses_can_be_imported(module):
    importlib.import_module(module)


def test_compiled_libraries_survived_the_stripping():
    libraries = list(_PACKAGES.rglob("*.so"))
    assert libraries
    for library in libraries:
        CDLL(str(library))


@pytest.mark.parametrize("service", ["s3", "sts", "secretsmanager", "athena", "eks"])
def test_aws_services_are_known(service):
    assert boto3.client(service, region_name="us-east-1").meta.service_model.operation_names


def test_every_module_is_compiled():
    missing = [
        source
        for source in _PACKAGES.rglob("airflow/**/*.py")
        if not list(source.parent.glob(f"__pycache__/{source.stem}.*.pyc"))
    ]
    assert missing == []


@pytest.mark.parametrize("command", ["airflow", "bash", "git", "ssh", "tini"])
def test_commands_are_there(command):
    assert shutil.which(command)


@pytest.mark.parametrize("command", ["gcc", "pip", "strip"])
def test_build_tools_are_not_there(command):
    assert shutil.which(command) is None
