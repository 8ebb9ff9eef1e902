"""The figures of the README are those of the pages that it points to."""

import json
import re

from local.cluster import settings


def test_the_row_of_a_triggerer_that_stands_still_is_that_of_the_faults():
    results = json.loads((settings.REPO / "docs" / "faults" / "latest.json").read_text())["results"]
    found = {one["launch"]: one for one in results if one["scenario"] == "triggerer-stop"}
    row = re.search(
        r"\| of (\d+) such tasks, run twice .*?\| \[(\w+)\].*?\| \[(\w+)\]", (settings.REPO / "README.md").read_text()
    )
    ours, stock = found["local"], found["stock-deferrable"]
    assert [ours["tasks"], stock["tasks"]] == [int(row[1])] * 2
    assert [str(ours["runs_twice"] or "none"), str(stock["runs_twice"])] == [row[2], row[3]]
