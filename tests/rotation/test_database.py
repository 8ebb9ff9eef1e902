"""The database's user is replaced by a second one, as docs/rotation.md has it, while tasks run: none notices."""

import secrets
from urllib.parse import urlsplit

import pytest
from local.cluster import postgres, releases, settings
from local.cluster.console import wait_for
from tests.rotation.conftest import nobody_noticed

SECRET = "airflow-database"
SECOND = "airflow_b"


@pytest.fixture
def url():
    """The database's, with its first user."""
    return releases.secret(settings.NAMESPACE, SECRET, "url")


@pytest.fixture
def second_url(url):
    """The database's, with a second user who may what the first one may."""
    first, password = urlsplit(url).username, secrets.token_urlsafe(24)
    postgres.query(
        f"CREATE ROLE {SECOND} LOGIN PASSWORD '{password}' IN ROLE {first}; ALTER ROLE {SECOND} SET role = {first};"
    )
    yield urlsplit(url)._replace(netloc=f"{SECOND}:{password}@{urlsplit(url).netloc.rpartition('@')[2]}").geturl()
    postgres.query(f"DROP ROLE {SECOND};")


# The second user is there before the first upgrade, and until after the last one.
def test_no_task_notices_and_the_first_user_is_not_needed_any_more(url, second_url, upgrade, start, put):
    first = urlsplit(url).username

    def sessions():
        # Whom the server knows as logged in; `role` changes what one may, not who one is.
        return set(
            postgres.query("SELECT usename FROM pg_stat_activity WHERE datname = 'airflow' AND usename <> 'postgres'")
        )

    run = start()
    try:
        put(SECRET, url=second_url)
        upgrade(database={"revision": 1})
        # Pods of before end what they do.
        wait_for(f"the end of the sessions of {first}", lambda: sessions() == {SECOND}, seconds=120)
        postgres.query(f"ALTER ROLE {first} NOLOGIN;")
        nobody_noticed(run)
        assert sessions() == {SECOND}
    finally:
        postgres.query(f"ALTER ROLE {first} LOGIN;")
        put(SECRET, url=url)
