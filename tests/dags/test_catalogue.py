"""The catalogue of task images. The rules for DAGs are `airflow_platform.rules`."""


def test_the_catalogue_has_the_versions_of_the_image_folders(catalogue, repository):
    # The Airflow image has no VERSION: no task runs it.
    versions = {file.parent.name: file.read_text().strip() for file in (repository / "images").glob("*/VERSION")}
    assert catalogue == {name: version for name, version in versions.items() if name != "airflow"}


def test_there_are_dags(dagbag):
    assert dagbag.dags
