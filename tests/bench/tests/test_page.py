import json

from tests.bench import figures, page
from tests.bench.cases import BARE, LOCAL, STOCK
from tests.bench.tests.test_figures import measured


def content(measurements):
    results = figures.results(measurements)
    return {
        "date": "2026-01-02",
        "machine": {"cores": 2, "processor": "P", "memory_gib": 24, "kernel": "6", "cgroup": 1, "load_before": 0.1},
        "versions": dict.fromkeys(("chart", "commit", "airflow", "provider", "kubernetes", "containerd", "nodes"), "1"),
        "rounds": 3,
        "results": results,
        "waiting": [],
        "figures": figures.wanted(results, []),
    }


def test_the_page_says_what_was_measured_misses_too(tmp_path):
    rounds = [measured(BARE, 20, 10.0), measured(STOCK, 20, 30.0, failed=2), measured(LOCAL, 20, 20.0)]
    (tmp_path / "latest.json").write_text(json.dumps(content(rounds)))
    page.write(tmp_path)
    text = (tmp_path / "README.md").read_text()
    assert "| 20 tasks, against bare pods | ≤ 1.45× | ≤ 1.20× | 2×: **missed** | not measured |" in text
    assert "| 20 tasks, times faster than stock | ≥ 5× | ≥ 7× | 1.50×: **missed** | not measured |" in text
    assert "| 20 | stock | **30** (30 – 30) | 1 / 1 | 2 / 2 |" in text
    assert "| 2 of 20 |" in text
    for name in ("total", "overhead", "processor"):
        assert f"]({name}.svg)" in text
        assert (tmp_path / f"{name}.svg").read_text().startswith("<?xml")


def test_the_same_results_give_the_same_bytes(tmp_path):
    (tmp_path / "latest.json").write_text(json.dumps(content([measured(BARE, 1, 3.0), measured(LOCAL, 1, 4.0)])))
    page.write(tmp_path)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    page.write(tmp_path)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before
