import pytest
from tests.scenarios import __main__ as scenarios


@pytest.fixture
def cluster(monkeypatch):
    """A cluster whose clock goes on by so many seconds with each call of helm; the calls."""
    calls, clock = [], [0.0]

    def nothing():
        """Nothing."""

    def use(seconds):
        def helm(*words, **_):
            calls.append(words[0])
            clock[0] += seconds

        monkeypatch.setattr(scenarios.access, "link_programs", lambda: None)
        monkeypatch.setattr(scenarios.kind, "is_up", lambda: True)
        monkeypatch.setattr(scenarios, "prepare", lambda: None)
        monkeypatch.setattr(scenarios.checks, "no_longer_declared", nothing)
        monkeypatch.setattr(scenarios.checks, "CHECKS", {})
        monkeypatch.setattr(scenarios.checks, "EACH", ())
        monkeypatch.setattr(scenarios.time, "monotonic", lambda: clock[0])
        monkeypatch.setattr(scenarios.releases, "helm", helm)
        monkeypatch.setattr(scenarios.releases, "install_scenario", lambda values, named: helm(values.name))
        monkeypatch.setattr(scenarios.releases, "install_platform", lambda: helm("platform"))
        return calls

    return use


def test_each_is_installed_over_the_one_before_and_tested_and_the_platform_put_back(cluster, capsys):
    calls = cluster(20)
    assert scenarios.main(["minimal", "celery"]) == 0
    assert calls == ["minimal-values.yaml", "test", "celery-values.yaml", "test", "platform"]
    assert "| celery | 20 s | 20 s | 40 s |" in capsys.readouterr().out


def test_one_that_takes_too_long_fails_by_name(cluster, capsys):
    cluster(100)
    assert scenarios.main(["minimal"]) == 1
    assert capsys.readouterr().err.startswith("error: minimal: more than 3 min 00 s")


def test_one_that_fails_leaves_the_platform_as_it_was(cluster, monkeypatch):
    calls = cluster(1)

    def fail(*_):
        raise scenarios.Problem("not ready", "Look.")

    monkeypatch.setattr(scenarios.releases, "install_scenario", fail)
    assert scenarios.main([]) == 1
    assert calls == ["platform"]


def test_an_unknown_scenario_is_refused_with_the_known_ones(capsys):
    with pytest.raises(SystemExit):
        scenarios.main(["minimum"])
    assert "no scenario minimum; choose among minimal, " in capsys.readouterr().err


def test_the_least_comes_first():
    assert next(iter(scenarios.FILES)) == "minimal"
