"""What the values declare, written to a database that Airflow and FAB's auth manager made, and taken away again."""

import contextlib
import json
import logging

import pytest
from airflow import settings
from airflow.models import Connection, Variable
from airflow.models.pool import Pool
from airflow.utils.session import create_session
from sqlalchemy import select

from airflow_platform import declared
from airflow_platform.declared import Declared, DeclaredError, model, objects, people


@pytest.fixture(scope="module")
def manager(metadata_database):
    """FAB's security manager; an application takes seconds to start, so that all writes have this one."""
    from airflow.providers.fab.auth_manager.cli_commands import utils

    with utils.get_application_builder() as builder, pytest.MonkeyPatch.context() as patch:
        patch.setattr(utils, "get_application_builder", lambda: contextlib.nullcontext(builder))
        yield builder.sm


@pytest.fixture
def write(manager, tmp_path, monkeypatch):
    """Write a declaration in the words of the values, with these Secrets; afterwards all of it is gone again."""
    monkeypatch.setattr(model, "SECRETS", tmp_path)

    def write(secrets=(), **declaration):
        for path, content in dict(secrets).items():
            (tmp_path / path).parent.mkdir(exist_ok=True)
            (tmp_path / path).write_text(content)
        declared.write(Declared.from_environment({model.ENVIRONMENT_VARIABLE: json.dumps(declaration)}))

    yield write
    declared.write(Declared())


@pytest.fixture
def rows():
    def rows(kind, name):
        with settings.Session() as session:
            found = {getattr(one, name): one for one in session.scalars(select(kind))}
            session.expunge_all()
        return found

    return rows


def test_nothing_is_declared_where_the_variable_is_missing():
    assert Declared.from_environment({}) == Declared()


def test_a_declaration_that_is_malformed_is_told_without_its_content():
    with pytest.raises(DeclaredError, match="connections.0.id") as raised:
        Declared.from_environment({model.ENVIRONMENT_VARIABLE: '{"connections": [{"value": {"password": "hunter2"}}]}'})
    assert "hunter2" not in str(raised.value)


def test_a_connection_is_its_secrets_uri_or_json_or_its_value_and_goes_when_it_is_taken_out(write, rows):
    write(
        {
            "connections/warehouse": "postgres://etl:hunter2@db.example.com:5432/sales\n",
            "connections/lake": '{"conn_type": "aws", "password": "hunter3", "extra": {"region_name": "eu"}}',
        },
        connections=[
            {"id": "warehouse"},
            {"id": "lake"},
            {"id": "api", "value": {"conn_type": "http", "host": "api.example.com", "description": "Orders."}},
        ],
    )
    found = rows(Connection, "conn_id")
    warehouse = found["warehouse"]
    assert (warehouse.conn_type, warehouse.login, warehouse.password) == ("postgres", "etl", "hunter2")
    assert (warehouse.host, warehouse.port, warehouse.schema) == ("db.example.com", 5432, "sales")
    assert warehouse.is_encrypted
    assert found["lake"].extra_dejson == {"region_name": "eu"}
    assert found["api"].host == "api.example.com"
    assert found["api"].description == f"{objects.MARK} Orders."
    write(connections=[{"id": "warehouse"}])
    assert rows(Connection, "conn_id").keys() == {"warehouse"}


def test_a_connection_that_a_person_changed_is_set_back_and_its_secret_not_printed(write, rows, caplog):
    secrets = {"connections/warehouse": "postgres://etl:hunter2@db.example.com/sales"}
    write(secrets, connections=[{"id": "warehouse"}])
    with create_session() as session:
        found = session.scalar(select(Connection))
        found.host, found.password = "elsewhere", "guessed"
    with caplog.at_level(logging.INFO):
        write(secrets, connections=[{"id": "warehouse"}])
    found = rows(Connection, "conn_id")["warehouse"]
    assert (found.host, found.password) == ("db.example.com", "hunter2")
    assert "Connection warehouse is set to what is declared: host, password" in caplog.text
    assert "hunter2" not in caplog.text


def test_what_a_connection_has_no_more_goes(write, rows):
    write(connections=[{"id": "api", "value": {"conn_type": "http", "host": "a", "extra": {"timeout": 5}}}])
    write(connections=[{"id": "api", "value": {"conn_type": "http"}}])
    found = rows(Connection, "conn_id")["api"]
    assert (found.host, found.extra) == (None, None)


def test_what_did_not_change_is_not_encrypted_anew(write):
    def stored():
        with settings.engine.connect() as connection:
            return connection.execute(select(Connection._password)).scalar_one()

    write({"connections/warehouse": "postgres://etl:hunter2@db/sales"}, connections=[{"id": "warehouse"}])
    before = stored()
    write(connections=[{"id": "warehouse"}])
    assert stored() == before


def test_what_a_person_made_stays(write, rows):
    with create_session() as session:
        session.add(Connection(conn_id="mine", conn_type="http", host="mine"))
        session.add(Variable(key="mine", val="1"))
        session.add(Pool(pool="mine", slots=3, description="Mine.", include_deferred=False))
    write()
    try:
        kinds = {Connection: "conn_id", Variable: "key", Pool: "pool"}
        assert all("mine" in rows(kind, name) for kind, name in kinds.items())
    finally:
        with create_session() as session:
            for kind in kinds:
                for one in session.scalars(select(kind)):
                    session.delete(one)


@pytest.mark.parametrize(
    ("secret", "said"),
    [
        ("hunter2", "warehouse is neither Airflow's JSON of a connection nor a URI|warehouse has no type"),
        ('{"conn_type": "aws", "port": "hunter2"}', "neither Airflow's JSON"),
        ('{"conn_type": "aws", "user": "hunter2"}', "neither Airflow's JSON"),
        ('{"host": "hunter2"}', "warehouse has no type"),
        ("\n", "its Secret is empty"),
    ],
)
def test_a_secret_that_is_no_connection_is_told_without_its_content(write, rows, secret, said):
    with pytest.raises(DeclaredError, match=said) as raised:
        write({"connections/warehouse": secret}, connections=[{"id": "warehouse"}])
    assert "hunter2" not in str(raised.value)
    assert raised.value.__cause__ is None
    assert "warehouse" not in rows(Connection, "conn_id")


def test_a_key_that_the_secret_lacks_is_told(write):
    with pytest.raises(DeclaredError, match="declared.variables: token: its Secret cannot be read: No such file"):
        write(variables=[{"key": "token"}])


def test_variables_are_texts_or_json_from_the_values_or_a_secret(write, rows):
    write(
        {"variables/token": "hunter2"},
        variables=[{"key": "stage", "value": "production"}, {"key": "limits", "value": {"rows": 5}}, {"key": "token"}],
    )
    found = {key: one.val for key, one in rows(Variable, "key").items()}
    assert found == {"stage": "production", "limits": '{"rows": 5}', "token": "hunter2"}
    write(variables=[{"key": "stage", "value": "staging"}])
    assert {key: one.val for key, one in rows(Variable, "key").items()} == {"stage": "staging"}


def test_pools_are_made_and_removed_and_the_default_one_stays(write, rows):
    write(pools=[{"name": "api", "slots": 3, "description": "Calls."}, {"name": "default_pool", "slots": 200}])
    found = rows(Pool, "pool")
    assert (found["api"].slots, found["api"].include_deferred) == (3, True)
    assert found["default_pool"].slots == 200
    write()
    assert rows(Pool, "pool").keys() == {"default_pool"}


CI = {"username": "ci", "email": "ci@example.com", "roles": ["Deployer"]}
DEPLOYER = {"name": "Deployer", "permissions": {"DAGs": ["can_read"], "DAG Runs": ["can_read", "can_create"]}}


def permissions(role):
    return {(one.action.name, one.resource.name) for one in role.permissions}


def test_a_user_of_a_declared_role_logs_in_by_its_secrets_password(write, manager):
    write({"users/ci": "hunter2"}, roles=[DEPLOYER], users=[CI])
    user = manager.find_user(username="ci")
    assert {role.name for role in user.roles} == {"Deployer", people.MARK}
    assert permissions(manager.find_role("Deployer")) == {
        ("can_read", "DAGs"),
        ("can_read", "DAG Runs"),
        ("can_create", "DAG Runs"),
        ("can_read", "Website"),
    }
    assert not manager.find_role(people.MARK).permissions
    assert manager.auth_user_db("ci", "hunter2", rotate_session_id=False)
    assert not manager.auth_user_db("ci", "hunter3", rotate_session_id=False)


def test_a_user_whom_airflow_does_not_take_is_no_success(write, manager, monkeypatch):
    monkeypatch.setattr(manager, "add_user", lambda *words, **more: False)
    with pytest.raises(DeclaredError, match="declared.users: new was not created"):
        write(
            {"users/new": "hunter2"}, users=[CI | {"username": "new", "email": "new@example.com", "roles": ["Viewer"]}]
        )


def test_a_user_whose_name_is_spelt_otherwise_is_the_same(write, manager):
    write({"users/ann": "hunter2"}, users=[CI | {"username": "ann", "email": "ann@example.com", "roles": ["Viewer"]}])
    write({"users/Ann": "hunter3"}, users=[CI | {"username": "Ann", "email": "ann@example.com", "roles": ["Viewer"]}])
    user = manager.find_user(username="ann")
    assert user.active
    assert manager.auth_user_db("ann", "hunter3", rotate_session_id=False)


def test_a_role_loses_what_is_declared_no_more(write, manager):
    write(roles=[DEPLOYER])
    write(roles=[DEPLOYER | {"permissions": {"DAGs": ["can_read"], "DAG:sales": ["can_edit"]}}])
    assert permissions(manager.find_role("Deployer")) == {
        ("can_read", "DAGs"),
        ("can_edit", "DAG:sales"),
        ("can_read", "Website"),
    }


def test_a_new_password_and_other_roles_replace_the_old_ones(write, manager):
    write({"users/ci": "hunter2"}, roles=[DEPLOYER], users=[CI])
    write({"users/ci": "hunter3"}, users=[CI | {"roles": ["Viewer"]}])
    assert manager.auth_user_db("ci", "hunter3", rotate_session_id=False)
    assert not manager.auth_user_db("ci", "hunter2", rotate_session_id=False)
    assert {role.name for role in manager.find_user(username="ci").roles} == {"Viewer", people.MARK}


def test_who_is_declared_no_more_cannot_log_in_and_can_again_when_declared_again(write, manager):
    write({"users/ci": "hunter2"}, roles=[DEPLOYER], users=[CI])
    write()
    assert not manager.auth_user_db("ci", "hunter2", rotate_session_id=False)
    write(users=[CI])
    assert manager.auth_user_db("ci", "hunter2", rotate_session_id=False)


def test_a_user_that_nobody_declared_stays(write, manager):
    manager.add_user("anna", "Anna", "A", "anna@example.com", manager.find_role("Viewer"), password="hunter2")
    write()
    assert manager.find_user(username="anna").is_active


@pytest.mark.parametrize(
    ("declaration", "said"),
    [
        (
            {"users": [CI | {"roles": ["Deploier"]}]},
            "ci has the role 'Deploier', which does not exist. Choose among Admin",
        ),
        ({"users": [CI | {"email": "bob@example.com", "roles": ["Op"]}]}, "bob@example.com, is that of user bob"),
        ({"roles": [DEPLOYER | {"permissions": {"Dags": ["can_read"]}}]}, "there is no resource 'Dags'. Choose among "),
    ],
)
def test_people_that_cannot_be_are_told(write, manager, declaration, said):
    if not manager.find_user(username="bob"):
        manager.add_user("bob", "Bob", "B", "bob@example.com", manager.find_role("Viewer"), password="hunter2")
    with pytest.raises(DeclaredError, match=said):
        write({"users/ci": "hunter2"}, **declaration)


def test_people_of_another_auth_manager_are_not_declared_here(write, monkeypatch):
    monkeypatch.setenv("AIRFLOW__CORE__AUTH_MANAGER", "somewhere.KeycloakAuthManager")
    with pytest.raises(DeclaredError, match="FabAuthManager's, and somewhere.KeycloakAuthManager is in use"):
        write({"users/ci": "hunter2"}, users=[CI])
