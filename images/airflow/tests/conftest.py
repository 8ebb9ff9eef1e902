import pytest

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
def platform(write_config):
    """A configuration with two node pools, read."""
    write_config(PLATFORM)
    return config.load()
