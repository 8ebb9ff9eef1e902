"""A folder of DAGs that a test pushes together with what they are to hold, ``suite.yaml``, which each of them reads.

The folder has the same name in the DAGs' repository. Its DAGs have the suite's ``revision`` as a tag.
"""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

import yaml
from local.cluster import dags
from local.cluster.airflow import Airflow
from local.cluster.console import Problem


def push(source: Path, suite: dict | None) -> None:
    """Push the folder with this suite; None: take it away."""
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary, source.name)
        folder.mkdir()
        if suite is not None:
            for path in source.glob("*.py"):
                shutil.copy2(path, folder)
            (folder / "suite.yaml").write_text(yaml.safe_dump(suite))
        dags.push(Path(temporary), f"DAGs of the {source.name}")


def is_parsed(airflow: Airflow, source: Path, dag_id: str, revision: str) -> bool:
    """Whether this revision of a DAG of the folder is there. :raises Problem: the folder was not imported."""
    found = airflow.dag(dag_id)
    if found is not None:
        return revision in {tag["name"] for tag in found["tags"]}
    errors = airflow.call("GET", "importErrors?limit=100")["import_errors"]
    if mine := [one["stack_trace"] for one in errors if f"{source.name}/" in one["filename"]]:
        raise Problem(f"the DAGs were not imported:\n{mine[0]}", f"Mend {source}/dag.py.")
    return False
