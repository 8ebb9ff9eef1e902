"""docs/from-the-official-chart.md ends with the table by which the converter goes."""

import sys

from local.cluster import settings

sys.path.append(str(settings.REPO / "images" / "airflow" / "src"))

from airflow_platform.official_chart import table
from airflow_platform.official_chart.components import COMPONENTS, FIELDS

PAGE = (settings.REPO / "docs" / "from-the-official-chart.md").read_text()


def test_the_table_is_the_converters():
    assert PAGE.endswith(table.page()), "put at the page's end what airflow_platform.official_chart.table.page() gives"


def test_the_components_are_the_converters():
    named = PAGE.split("`<component>` is any of")[1].split("A path stands")[0]
    theirs, ours = (set(part.replace("`", " ").replace(",", " ").split()) for part in named.split("; here"))
    assert theirs == set(COMPONENTS)
    assert set(FIELDS) <= ours
