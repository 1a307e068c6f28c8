from __future__ import annotations

import sqlite3

import pytest
from sqlalchemy import create_engine, inspect
from store_world import ADA, open_store, put

from parametric_memory.errors import StoreError, StoreVersionError
from parametric_memory.store import AtomStore, schema
from parametric_memory.store.migrations import MIGRATIONS, migrate


def test_migrations_make_the_tables_that_queries_expect(tmp_path):
    with create_engine(f"sqlite:///{tmp_path / 'x.db'}").begin() as connection:
        migrate(connection, tmp_path)
        made = inspect(connection)
        for table in schema.tables.sorted_tables:
            columns = made.get_columns(table.name)
            assert [(c["name"], c["nullable"]) for c in columns] == [(c.name, bool(c.nullable)) for c in table.columns]
            kinds = [c["type"].as_generic()._type_affinity for c in columns]
            assert kinds == [c.type._type_affinity for c in table.columns]
            assert made.get_pk_constraint(table.name)["constrained_columns"] == [c.name for c in table.primary_key]
            foreign = {(f["constrained_columns"][0], f["referred_table"]) for f in made.get_foreign_keys(table.name)}
            assert foreign == {(f.parent.name, f.column.table.name) for f in table.foreign_keys}


def test_migrating_twice_changes_nothing(tmp_path):
    with create_engine(f"sqlite:///{tmp_path / 'x.db'}").begin() as connection:
        migrate(connection, tmp_path)
        before = connection.exec_driver_sql("SELECT sql FROM sqlite_master").all()
        migrate(connection, tmp_path)
        assert connection.exec_driver_sql("SELECT sql FROM sqlite_master").all() == before


def test_a_store_of_a_newer_library_is_refused_and_left_as_it_is(tmp_path):
    with open_store(tmp_path / "store") as store:
        put(store, ADA)
    with sqlite3.connect(tmp_path / "store" / "store.db") as connection:
        connection.execute("UPDATE manifest SET value = '99' WHERE key = 'schema'")
    with pytest.raises(StoreVersionError, match=f"schema is number 99, this library knows up to {len(MIGRATIONS)}"):
        open_store(tmp_path / "store")
    with pytest.raises(StoreVersionError):
        AtomStore.inspect(tmp_path / "store")


def test_a_database_of_something_else_is_refused(tmp_path):
    (tmp_path / "store").mkdir()
    with sqlite3.connect(tmp_path / "store" / "store.db") as connection:
        connection.execute("CREATE TABLE customers (name TEXT)")
    with pytest.raises(StoreError, match="customers"):
        open_store(tmp_path / "store")


def test_a_file_that_is_no_database_is_refused(tmp_path):
    (tmp_path / "store").mkdir()
    (tmp_path / "store" / "store.db").write_bytes(b"not a database at all, but long enough to be read as one" * 100)
    with pytest.raises(StoreError, match="not a database"):
        open_store(tmp_path / "store")
