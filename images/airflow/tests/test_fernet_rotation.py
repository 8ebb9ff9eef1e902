"""Two Fernet keys and a database that was encrypted by the older one."""

import ast
import inspect
import logging
from unittest.mock import MagicMock

import pytest
from airflow.cli.commands import rotate_fernet_key_command
from airflow.models import Connection, Trigger, Variable, crypto
from airflow.utils.session import create_session
from cryptography.fernet import Fernet
from sqlalchemy import delete, select

from airflow_platform import airflow_pools, declared, fernet_rotation, setup

OLD, NEW, OTHER = (Fernet.generate_key().decode() for _ in range(3))


@pytest.fixture
def use(monkeypatch):
    """Have Airflow use these keys."""

    def use(*keys):
        monkeypatch.setenv("AIRFLOW__CORE__FERNET_KEY", ",".join(keys))
        crypto.get_fernet.cache_clear()

    yield use
    crypto.get_fernet.cache_clear()


@pytest.fixture
def encrypted(metadata_database, use):
    """One of each, by the old key."""
    use(OLD)
    with create_session() as session:
        session.add(Connection(conn_id="warehouse", conn_type="postgres", password="hunter2", extra='{"a": 1}'))
        session.add(Connection(conn_id="bare", conn_type="http"))
        session.add(Variable(key="token", val="hunter3"))
        session.add(Trigger(classpath="a.B", kwargs={"pod": "hunter4"}))
    yield
    with create_session() as session:
        for kind in (Connection, Variable, Trigger):
            session.execute(delete(kind))


def read():
    with create_session() as session:
        warehouse = session.scalar(select(Connection).where(Connection.conn_id == "warehouse"))
        (trigger,) = session.scalars(select(Trigger))
        variable = session.scalar(select(Variable))
        return warehouse.password, warehouse.extra_dejson, variable.val, trigger.kwargs


ALL = ("hunter2", {"a": 1}, "hunter3", {"pod": "hunter4"})


def test_all_is_read_by_the_new_key_alone_afterwards(encrypted, use):
    use(NEW, OLD)
    assert read() == ALL
    assert fernet_rotation.rotate() == 4
    use(NEW)
    assert read() == ALL


def test_a_second_time_changes_nothing(encrypted, use):
    use(NEW, OLD)
    fernet_rotation.rotate()
    assert fernet_rotation.rotate() == 0


def test_one_key_is_nothing_to_rotate(encrypted, use, caplog):
    use(OLD)
    assert fernet_rotation.rotate() == 0
    assert "lists one key" in caplog.text
    assert read() == ALL


def test_what_no_key_reads_is_named_and_all_else_done(encrypted, use, caplog):
    use(OTHER)
    with create_session() as session:
        session.add(Connection(conn_id="lost", conn_type="postgres", password="hunter5"))
    use(NEW, OLD)
    with (
        caplog.at_level(logging.INFO),
        pytest.raises(RuntimeError, match="none of the 2 Fernet keys reads connection lost"),
    ):
        fernet_rotation.rotate()
    assert "hunter" not in caplog.text
    use(NEW)
    assert read() == ALL


def test_a_trigger_that_ends_meanwhile_fails_nothing(encrypted, use, monkeypatch):
    use(NEW, OLD)
    ids = fernet_rotation._ids

    def and_then_it_ends(table, *more):
        found = ids(table, *more)
        if table.name == "trigger":
            with create_session() as session:
                session.execute(delete(Trigger))
        return found

    monkeypatch.setattr(fernet_rotation, "_ids", and_then_it_ends)
    assert fernet_rotation.rotate() == 3


def test_what_changed_since_it_was_read_stays(encrypted, use, monkeypatch):
    use(NEW, OLD)
    rotate = fernet_rotation.MultiFernet.rotate

    def and_then_it_is_set(self, text):
        with create_session() as session:
            session.scalar(select(Variable)).set_val("newer")
        return rotate(self, text)

    monkeypatch.setattr(
        fernet_rotation, "_ENCRYPTED", [one for one in fernet_rotation._ENCRYPTED if one[0].name == "variable"]
    )
    monkeypatch.setattr(fernet_rotation.MultiFernet, "rotate", and_then_it_is_set)
    assert fernet_rotation.rotate() == 0
    with create_session() as session:
        assert session.scalar(select(Variable)).val == "newer"


@pytest.mark.parametrize("keys", [(OLD,), (NEW, OLD), (OLD, NEW)])
def test_a_key_that_reads_the_database_may_be_any_of_several(encrypted, use, keys):
    use(*keys)
    fernet_rotation.check()


@pytest.mark.parametrize("kind", [Connection, Variable, Trigger])
def test_another_key_than_the_databases_is_refused(encrypted, use, kind):
    with create_session() as session:
        for other in {Connection, Variable, Trigger} - {kind}:
            session.execute(delete(other))
    use(NEW, OTHER)
    with pytest.raises(RuntimeError, match=f"none of the 2 Fernet keys reads .* of {kind.__tablename__}") as refused:
        fernet_rotation.check()
    assert "name it in fernetKey.existingSecret" in str(refused.value)


def test_a_trigger_by_another_key_does_not_hide_that_connections_are_unreadable(encrypted, use):
    use(OTHER)
    with create_session() as session:
        session.add(Trigger(classpath="a.B", kwargs={"pod": "hunter4"}))
    with pytest.raises(RuntimeError, match="2 values of connection"):
        fernet_rotation.check()


def test_one_connection_that_nothing_reads_refuses_no_release_and_is_told(encrypted, use, caplog):
    use(OLD)
    fernet_rotation.check()
    assert not caplog.records
    use(OTHER)
    with create_session() as session:
        session.add(Connection(conn_id="lost", conn_type="postgres", password="hunter5"))
    use(OLD)
    fernet_rotation.check()
    assert "None of the 1 Fernet keys reads 1 values of connection" in caplog.text


def test_a_database_with_nothing_encrypted_takes_any_key(metadata_database, use):
    use("")
    with create_session() as session:
        session.add(Connection(conn_id="plain", conn_type="postgres", password="hunter2"))
        session.add(Variable(key="plain", val="hunter3"))
        session.add(Trigger(classpath="a.B", kwargs={"pod": "hunter4"}))
    try:
        use(NEW)
        fernet_rotation.check()
    finally:
        with create_session() as session:
            for kind in (Connection, Variable, Trigger):
                session.execute(delete(kind))
    fernet_rotation.check()


def test_a_release_with_another_key_writes_nothing(encrypted, use, monkeypatch):
    monkeypatch.setattr(setup, "connect", MagicMock())
    monkeypatch.setattr(setup, "migrate", lambda _: None)
    monkeypatch.setattr(airflow_pools, "write", lambda _: pytest.fail("it goes on"))
    use(NEW)
    with pytest.raises(RuntimeError, match="none of the 1 Fernet keys"):
        setup.set_up((), None, declared.Declared())


def test_airflow_encrypts_nothing_else():
    source = ast.parse(inspect.getsource(rotate_fernet_key_command))
    calls = [node for node in ast.walk(source) if isinstance(node, ast.Call)]
    taken = {call.args[1].id for call in calls if getattr(call.func, "id", "") == "rotate_items_in_batches"}
    assert taken == {"Connection", "Variable", "Trigger", "ConnectionTestRequest"}
