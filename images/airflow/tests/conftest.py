from collections import defaultdict

import pytest
from airflow.executors import executor_loader
from cryptography.fernet import Fernet

from airflow_platform import config

PLATFORM = """
imageRegistry: registry.example.com:5000
tasks:
  serviceAccountName: airflow-task
nodePools:
  - name: light
    slots: 32
    nodeSelector: {node-pool: light}
    tolerations: []
  - name: gpu
    slots: 4
    nodeSelector: {node-pool: gpu}
    tolerations: [{key: node-pool, operator: Equal, value: gpu, effect: NoSchedule}]
"""


@pytest.fixture
def write_config(tmp_path, monkeypatch):
    """Put a text in place as the platform's configuration."""

    def write(text):
        path = tmp_path / "platform.yaml"
        path.write_text(text)
        monkeypatch.setenv(config.ENVIRONMENT_VARIABLE, str(path))
        config.read.cache_clear()
        return path

    return write


@pytest.fixture
def executors(monkeypatch):
    """Airflow has the executors that the chart gives it."""
    names = "KubernetesExecutor,launcher:airflow_platform.launcher.LocalLauncher"
    monkeypatch.setenv("AIRFLOW__CORE__EXECUTOR", names)
    # Read once a process, by whoever asks first.
    for name in ("_alias_to_executors_per_team", "_module_to_executors_per_team", "_classname_to_executors_per_team"):
        monkeypatch.setattr(executor_loader, name, defaultdict(dict))
    monkeypatch.setattr(executor_loader, "_team_name_to_executors", defaultdict(list))
    monkeypatch.setattr(executor_loader, "_executor_names", [])


@pytest.fixture
def platform(write_config):
    """A configuration with two node pools, read."""
    write_config(PLATFORM)
    return config.load()


@pytest.fixture(scope="module")
def metadata_database(tmp_path_factory):
    """A database of Airflow's and of FAB's auth manager, which Airflow uses meanwhile; its URL."""
    import airflow.models
    from airflow import settings
    from airflow.models.base import Base
    from airflow.providers.fab.auth_manager import models  # noqa: F401  # its tables are Base's too

    with pytest.MonkeyPatch.context() as patch:
        url = f"sqlite:///{tmp_path_factory.mktemp('database') / 'airflow.db'}"
        manager = "airflow.providers.fab.auth_manager.fab_auth_manager.FabAuthManager"
        patch.setenv("AIRFLOW__DATABASE__SQL_ALCHEMY_CONN", url)
        patch.setenv("AIRFLOW__CORE__AUTH_MANAGER", manager)
        patch.setenv("AIRFLOW__CORE__FERNET_KEY", Fernet.generate_key().decode())
        settings.configure_vars()
        settings.configure_orm()
        airflow.models.import_all_models()
        Base.metadata.create_all(settings.engine)
        yield url
        settings.dispose_orm()
    settings.configure_vars()
    settings.configure_orm()
