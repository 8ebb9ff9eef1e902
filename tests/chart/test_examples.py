"""The values that docs/install.md shows, with those of production."""

import re

import pytest
import yaml
from tests.chart.release import ROOT, needs_helm, render

pytestmark = needs_helm

# What begins with an apiVersion is an object, no values.
EXAMPLES = re.findall(r"```yaml\n(?!apiVersion:)(.+?)```", (ROOT / "docs" / "install.md").read_text(), re.DOTALL)
DATABASE = "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN"


def containers(text, folder):
    """Every container and init container of the Deployments and the Job, with these values."""
    (folder / "example.yaml").write_text(text)
    objects = render(values=("common", "production"), files=[folder / "example.yaml"])
    specs = [one["spec"]["template"]["spec"] for one in objects if one["kind"] in ("Deployment", "Job")]
    return [one for spec in specs for one in (*spec.get("initContainers", []), *spec["containers"])]


@pytest.mark.parametrize("text", EXAMPLES, ids=[next(iter(yaml.safe_load(text))) for text in EXAMPLES])
def test_an_example_renders(tmp_path, text):
    assert containers(text, tmp_path)


def test_whatever_reaches_the_database_checks_its_certificate_in_production(tmp_path):
    reaching = [
        one for one in containers("{}", tmp_path) if DATABASE in {variable["name"] for variable in one.get("env", [])}
    ]
    # Four components, each with a container that waits for the migration, and the monitor; and of the Job the migration
    # and what is around its dump.
    assert len(reaching) == 12
    for one in reaching:
        environment = {variable["name"]: variable.get("value") for variable in one["env"]}
        assert environment["PGSSLMODE"] == "verify-full"
        folders = [mount["mountPath"] for mount in one["volumeMounts"] if mount["name"] == "database-ca"]
        assert [environment["PGSSLROOTCERT"].rpartition("/")[0]] == folders, one["name"]
