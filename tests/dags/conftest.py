"""The DAGs of this repository.

Runs where `airflow` and the providers can be imported: in the Airflow image, with the repository mounted.
"""

from pathlib import Path

import pytest
import yaml

REPOSITORY = Path(__file__).parents[2]
DAGS = REPOSITORY / "dags"


@pytest.fixture(scope="session")
def repository() -> Path:
    """Return the root of the repository."""
    return REPOSITORY


@pytest.fixture(scope="session")
def dagbag():
    """Return the DagBag of the folder dags/."""
    from airflow.dag_processing.dagbag import DagBag

    return DagBag(DAGS)


@pytest.fixture(scope="session")
def platform_values() -> dict:
    """Return what DAGs notice of the local environment: its node pools."""
    return {"nodePools": yaml.safe_load((REPOSITORY / "values" / "kind.yaml").read_text())["nodePools"]}


@pytest.fixture(scope="session")
def catalogue() -> dict[str, str]:
    """Return the version of each task image."""
    return yaml.safe_load((DAGS / "images.yaml").read_text())
