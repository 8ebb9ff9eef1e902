import pytest

from airflow_platform import config
from airflow_platform.config import ConfigError


def test_a_node_pool_is_found_by_its_name(platform):
    gpu = platform.node_pool("gpu")
    assert gpu.slots == 4
    assert gpu.node_selector == {"node-pool": "gpu"}
    assert gpu.tolerations[0].effect == "NoSchedule"
    assert platform.node_pool("gpus") is None


@pytest.mark.parametrize("environment", [None, ""])
def test_without_a_file_there_are_no_pools_and_no_registry(monkeypatch, environment):
    monkeypatch.delenv(config.ENVIRONMENT_VARIABLE, raising=False)
    if environment is not None:
        monkeypatch.setenv(config.ENVIRONMENT_VARIABLE, environment)
    assert config.load() == config.PlatformConfig()
    assert config.load().node_pools == ()


def test_pools_that_are_declared_may_be_named_where_there_are_node_pools(write_config):
    declared = "declared: {pools: [{name: api, slots: 4}, {name: default_pool, slots: 9}]}"
    write_config(f"nodePools: [{{name: gpu, slots: 4}}]\n{declared}")
    assert config.load().pools == {"gpu", "api"}
    write_config(declared)
    assert config.load().pools == set()


def test_an_empty_file_is_all_defaults(write_config):
    write_config("")
    assert config.load() == config.PlatformConfig()


def test_keys_of_a_newer_release_are_ignored(write_config):
    write_config("imageRegistry: example.com\nnewerKey: {a: 1}\n")
    assert config.load().image_registry == "example.com"


@pytest.mark.parametrize(
    ("text", "key", "expected"),
    [
        ("nodePools: [{name: gpu, slots: many}]", "nodePools[0].slots", "valid integer"),
        ("nodePools: [{name: gpu, slots: -1}]", "nodePools[0].slots", "greater than or equal to 0"),
        ("nodePools: [{name: '', slots: 1}]", "nodePools[0].name", "at least 1 character"),
        ("nodePools: [{name: gpu}]", "nodePools[0].slots", "is missing"),
        ("nodePools: [{name: gpu, slots: 1, nodeSelector: {a: 1}}]", "nodePools[0].nodeSelector.a", "valid string"),
        ("nodePools: {name: gpu}", "nodePools", "valid tuple"),
        ("tasks: {keepFailedPods: 2}", "tasks.keepFailedPods", "a duration is expected"),
        ("tasks: {keepFailedPods: 2d}", "tasks.keepFailedPods", "a duration is expected"),
        ("tasks: {keepFailedPods: ''}", "tasks.keepFailedPods", "a duration is expected"),
        ("tasks: {infrastructureRetries: -1}", "tasks.infrastructureRetries", "greater than or equal to 0"),
        ("nodePools: [{name: a, slots: 1, outOfMemoryFactor: 0.5}]", "nodePools[0].outOfMemoryFactor", "greater than"),
        ("imageRegistry: [a]", "imageRegistry", "valid string"),
        ("- a", "the file", "dictionary"),
    ],
)
def test_a_wrong_value_is_named_with_what_was_expected(write_config, text, key, expected):
    path = write_config(text)
    with pytest.raises(ConfigError) as raised:
        config.load()
    assert f"{path}: {key}: " in str(raised.value)
    assert expected in str(raised.value)


@pytest.mark.parametrize(("text", "seconds"), [("0s", 0), ("2h", 7200), ("1h30m", 5400), ("90s", 90)])
def test_a_duration_is_written_as_people_do(write_config, text, seconds):
    write_config(f"tasks: {{keepFailedPods: {text}}}")
    assert config.load().tasks.keep_failed_pods.total_seconds() == seconds


def test_every_wrong_key_is_named(write_config):
    write_config("imageRegistry: 1\nnodePools: [{slots: 1}]")
    with pytest.raises(ConfigError, match=r"imageRegistry(.|\n)*nodePools\[0\].name"):
        config.load()


def test_a_file_that_is_not_yaml_is_named(write_config):
    path = write_config("a: [")
    with pytest.raises(ConfigError, match=f"{path}: is not YAML"):
        config.load()


def test_a_missing_file_is_named(monkeypatch, tmp_path):
    path = tmp_path / "gone.yaml"
    monkeypatch.setenv(config.ENVIRONMENT_VARIABLE, str(path))
    with pytest.raises(ConfigError, match=f"{path}: cannot be read.*{config.ENVIRONMENT_VARIABLE}"):
        config.load()
