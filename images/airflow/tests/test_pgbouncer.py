"""PgBouncer's files, of a URL and a password."""

import os
import stat

import pytest

from airflow_platform import pgbouncer

URL = "postgresql://airflow:s3cret@db.example.com:5433/meta"


def environment(url=URL, password="abc-DEF_1"):
    return {"AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": url, "AIRFLOW_PLATFORM_PGBOUNCER_PASSWORD": password}


def test_clients_name_one_database_and_reach_that_of_the_url():
    assert pgbouncer.databases(URL) == (
        "[databases]\nairflow = host='db.example.com' port='5433' dbname='meta' user='airflow' password='s3cret'\n"
    )


def test_user_and_password_are_decoded_and_quoted_anew():
    made = pgbouncer.databases("postgresql+psycopg2://us%40er:it%27s%20a%2Fsl%3Dash@db/meta")
    assert "user='us@er' password='it''s a/sl=ash'" in made
    assert "port='5432'" in made


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("", "no PostgreSQL URL"),
        ("mysql://a:s3cret@db/meta", "no PostgreSQL URL"),
        ("postgresql://a:s3cret@db/", "no dbname"),
        ("postgresql://db/meta", "no user"),
        ("postgresql://a:s3cret@/meta", "no host"),
        ("postgresql://a:s3/cret@db:5432/meta", "percent-encode"),
        ("postgresql://a:s3cret%0A@db/meta", "line break"),
        (f"{URL}?sslmode=require&connect_timeout=3", r"options \(connect_timeout, sslmode\).*database.sslMode"),
    ],
)
def test_a_url_that_does_not_do_is_refused_and_not_repeated(url, reason):
    with pytest.raises(pgbouncer.UrlError, match=reason) as error:
        pgbouncer.databases(url)
    assert "s3" not in str(error.value)


@pytest.mark.parametrize("password", ["", "with space", 'quo"te', "per%20cent", "a/b"])
def test_a_password_that_a_url_would_have_to_encode_is_refused_and_not_repeated(password):
    with pytest.raises(pgbouncer.UrlError) as error:
        pgbouncer.userlist(password)
    assert not password or password not in str(error.value)


def test_the_files_are_its_user_s_alone_and_are_written_anew(tmp_path):
    pgbouncer.write(tmp_path, environment(password="first"))
    pgbouncer.write(tmp_path, environment())
    assert sorted(os.listdir(tmp_path)) == ["databases.ini", "userlist.txt"]
    assert (tmp_path / "userlist.txt").read_text() == '"airflow" "abc-DEF_1"\n'
    for path in tmp_path.iterdir():
        assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_nothing_is_written_of_half_of_it(tmp_path):
    with pytest.raises(pgbouncer.UrlError):
        pgbouncer.write(tmp_path, environment(password=""))
    assert not list(tmp_path.iterdir())


def test_a_mistake_is_said_in_one_line(tmp_path, monkeypatch):
    for name, value in environment(url="postgresql://a:s3cret@db").items():
        monkeypatch.setenv(name, value)
    with pytest.raises(SystemExit, match="Secret of the database's URL .* it has no dbname"):
        pgbouncer.main([str(tmp_path)])


def test_no_two_statements_of_airflow_have_one_name():
    name = pgbouncer.ASYNC_CONNECT_ARGS["prepared_statement_name_func"]
    assert name() != name()


def test_airflow_s_own_option_takes_the_arguments(monkeypatch):
    from airflow.configuration import conf

    option = "AIRFLOW__DATABASE__SQL_ALCHEMY_CONNECT_ARGS_ASYNC"
    monkeypatch.setenv(option, "airflow_platform.pgbouncer.ASYNC_CONNECT_ARGS")
    assert conf.getimport("database", "sql_alchemy_connect_args_async") is pgbouncer.ASYNC_CONNECT_ARGS
