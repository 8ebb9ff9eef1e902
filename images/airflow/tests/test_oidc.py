"""Single sign-on: a browser, `airflow api-server` and an OpenID provider, each a real one, on loopback."""

import contextlib
import json
import os
import re
import secrets
import socket
import subprocess
import sys
import time
from urllib.parse import parse_qs, urljoin, urlsplit

import oidc_provider_mock
import pytest
import requests
from airflow.providers.fab.auth_manager.models import Role, User
from airflow.utils.session import create_session
from flask_login.utils import encode_cookie
from sqlalchemy import select
from werkzeug.security import generate_password_hash

from airflow_platform import flask_config, oidc

CLAIMS = {
    "username": "preferred_username",
    "email": "email",
    "firstName": "given_name",
    "lastName": "family_name",
    "roles": "realm_access.roles",
}
CONFIG_FILE = (
    "import os\n\nfrom airflow_platform import flask_config\n\n"
    'globals().update(flask_config.settings(os.environ, ""))\n'
)
KEYS = {"AIRFLOW__API__SECRET_KEY": secrets.token_hex(), "AIRFLOW__API_AUTH__JWT_SECRET": secrets.token_hex(32)}


@pytest.fixture(scope="module")
def provider():
    """The provider, at an address of its own."""
    with oidc_provider_mock.run_server_in_thread() as server:
        yield f"http://localhost:{server.server_port}"


@pytest.fixture(scope="module")
def api_server(metadata_database, provider, tmp_path_factory):
    """`airflow api-server`, which logs people in by the provider; its address, and its log."""
    folder = tmp_path_factory.mktemp("api-server")
    (folder / "webserver_config.py").write_text(CONFIG_FILE)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    values = {
        "name": "company",
        "issuer": provider,
        "clientId": "airflow",
        "scopes": ["openid", "email", "profile"],
        "claims": CLAIMS,
        "roleMapping": {"data-engineers": ["Op"], "auditors": ["Viewer"]},
    }
    environment = {
        **os.environ,
        # The tables were made without migrations.
        "AIRFLOW__DATABASE__CHECK_MIGRATIONS": "False",
        "AIRFLOW__API__BASE_URL": f"http://localhost:{port}",
        **KEYS,
        "AIRFLOW__FAB__CONFIG_FILE": str(folder / "webserver_config.py"),
        oidc.ENVIRONMENT_VARIABLE: json.dumps(values),
        oidc.SECRET_VARIABLE: "hunter2",
    }
    log = folder / "log"
    command = [sys.executable, "-m", "airflow", "api-server", "--host", "127.0.0.1", "--port", str(port)]
    with log.open("wb") as output:
        process = subprocess.Popen(command, env=environment, stdout=output, stderr=subprocess.STDOUT)
    url = f"http://localhost:{port}"
    try:
        deadline = time.monotonic() + 120
        while True:
            with contextlib.suppress(requests.RequestException):
                if requests.get(f"{url}/api/v2/version", timeout=5).ok:
                    break
            assert process.poll() is None, log.read_text()
            assert time.monotonic() < deadline, log.read_text()
            time.sleep(0.2)
        yield url, log
    finally:
        process.terminate()
        process.wait(30)


@pytest.fixture
def log_in(api_server, provider):
    """Log a person in whom the provider knows by these claims, as a browser does; the browser, and where it was led."""
    url, _ = api_server

    def log_in(subject, **claims):
        requests.put(f"{provider}/users/{subject}", json=claims, timeout=10).raise_for_status()
        browser = requests.Session()
        page = browser.get(f"{url}/auth/login/", timeout=30)
        (link,) = set(re.findall(r'href="([^"]*/login/company[^"]*)"', page.text)) or {"/auth/login/company"}
        form = browser.get(urljoin(url, link), timeout=30)
        assert form.url.startswith(provider), form.url
        query = parse_qs(urlsplit(form.url).query)
        assert query["redirect_uri"] == [f"{url}/auth/oauth-authorized/company"]
        assert query["code_challenge_method"] == ["S256"]
        end = browser.post(form.url, data={"sub": subject}, timeout=30)
        return browser, end

    return log_in


def roles(name):
    with create_session() as session:
        found = session.scalar(select(User).where(User.username == name))
        return None if found is None else {role.name for role in found.roles}


def token(browser):
    return browser.cookies.get("_token")


def groups(*names):
    return {"realm_access": {"roles": list(names)}}


def test_a_person_of_a_mapped_group_is_logged_in_with_its_role_and_may_use_the_api(api_server, log_in):
    url, _ = api_server
    browser, end = log_in(
        "s-1",
        preferred_username="anna",
        email="anna@example.com",
        given_name="Anna",
        family_name="A",
        **groups("data-engineers"),
    )
    assert end.url.startswith(url), end.url
    assert roles("anna") == {"Op"}
    assert token(browser)
    answer = requests.get(f"{url}/api/v2/pools", headers={"Authorization": f"Bearer {token(browser)}"}, timeout=30)
    assert answer.json()["total_entries"] == 0


def test_who_leaves_a_group_loses_its_role_at_the_next_login(log_in):
    person = {"preferred_username": "bob", "email": "bob@example.com"}
    log_in("s-2", **person, **groups("data-engineers", "auditors"))
    assert roles("bob") == {"Op", "Viewer"}
    log_in("s-2", **person, **groups("auditors"))
    assert roles("bob") == {"Viewer"}


def test_a_person_of_no_mapped_group_is_refused_and_not_made(api_server, log_in):
    _, log = api_server
    browser, _ = log_in("s-3", preferred_username="carl", email="carl@example.com", **groups("sales"))
    assert not token(browser)
    assert roles("carl") is None
    assert "carl cannot log in: none of auth.oidc.roleMapping's groups" in log.read_text()


def test_a_user_with_a_password_cannot_be_taken_over_by_name_or_by_address(log_in):
    with create_session() as session:
        session.add(
            User(
                username="admin",
                email="admin@example.com",
                first_name="A",
                last_name="A",
                active=True,
                password=generate_password_hash("hunter3"),
                roles=[session.scalar(select(Role).where(Role.name == "Admin"))],
            )
        )
    browser, _ = log_in("s-4", preferred_username="admin", email="other@example.com", **groups("auditors"))
    assert not token(browser)
    assert roles("admin") == {"Admin"}
    browser, _ = log_in("s-5", preferred_username="eve", email="admin@example.com", **groups("auditors"))
    assert not token(browser)
    assert roles("eve") is None


def test_an_address_in_other_letters_is_the_same_person_and_another_name_with_it_is_refused(api_server, log_in):
    _, log = api_server
    browser, _ = log_in("s-6", preferred_username="dora", email="Dora@Example.com", **groups("auditors"))
    assert token(browser)
    browser, _ = log_in("s-6", preferred_username="Dora", email="dora@example.com", **groups("auditors"))
    assert token(browser)
    browser, _ = log_in("s-6", preferred_username="dora.new", email="dora@example.com", **groups("auditors"))
    assert not token(browser)
    assert "dora.new cannot log in: the address dora@example.com is that of user dora" in log.read_text()


def test_a_user_with_a_password_still_gets_a_token_for_the_api(api_server):
    url, _ = api_server
    with create_session() as session:
        session.add(
            User(
                username="ci",
                email="ci@example.com",
                first_name="C",
                last_name="I",
                active=True,
                password=generate_password_hash("hunter4"),
                roles=[session.scalar(select(Role).where(Role.name == "Op"))],
            )
        )
    answer = requests.post(f"{url}/auth/token", json={"username": "ci", "password": "hunter4"}, timeout=30)
    assert answer.status_code == 201
    headers = {"Authorization": f"Bearer {answer.json()['access_token']}"}
    assert requests.get(f"{url}/api/v2/pools", headers=headers, timeout=30).ok
    # Whom the provider made has no password that anybody could give.
    for password in ("", " "):
        guess = requests.post(f"{url}/auth/token", json={"username": "anna", "password": password}, timeout=30)
        assert guess.status_code in (400, 401)


def test_a_person_whom_the_provider_gives_no_name_is_refused_and_the_log_says_which_claim_is_missing(
    api_server, log_in
):
    _, log = api_server
    browser, _ = log_in("s-6", email="fred@example.com", **groups("auditors"))
    assert not token(browser)
    assert "the provider gives no claim 'preferred_username'" in log.read_text()


def test_an_answer_that_was_not_asked_for_logs_nobody_in(api_server):
    url, _ = api_server
    browser = requests.Session()
    browser.get(f"{url}/auth/oauth-authorized/company?code=stolen&state=forged", timeout=30)
    assert not token(browser)


def test_a_session_cannot_be_signed_by_the_key_that_servers_of_logs_have(api_server, monkeypatch):
    url, _ = api_server
    with create_session() as session:
        user = User(username="gina", email="gina@example.com", first_name="G", last_name="G", active=True)
        session.add(user)
        session.flush()
        number = user.id
    for name, value in KEYS.items():
        monkeypatch.setenv(name, value)
    for key, logged_in in (
        (KEYS["AIRFLOW__API__SECRET_KEY"], False),
        (KEYS["AIRFLOW__API_AUTH__JWT_SECRET"], False),
        (flask_config.settings({})["SECRET_KEY"], True),
    ):
        browser = requests.Session()
        cookies = {"remember_token": encode_cookie(str(number), key=key)}
        browser.get(f"{url}/auth/login/", cookies=cookies, timeout=30)
        assert bool(token(browser)) is logged_in


def test_the_secret_is_in_no_log(api_server):
    assert "hunter" not in api_server[1].read_text()
