"""Whom a store belongs to: made with the store, checked whenever it is opened or written to.

Codes fit one base model and one compiler, keys lie in one encoder's space. A base model is known by its fingerprint:
one that only moved to another path is the same one.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from sqlalchemy import Connection, insert, select

from parametric_memory.errors import AdapterMismatchError
from parametric_memory.store import rows, schema
from parametric_memory.store.database import Database
from parametric_memory.store.lock import Lock
from parametric_memory.store.migrations import MIGRATIONS, check_schema, migrate, schema_of
from parametric_memory.store.records import Manifest
from parametric_memory.types import AdapterSpec, AtomCode


def write_lock(folder: Path) -> Lock:
    """Return the lock that writers of the store in a folder take turns with."""
    return Lock(folder / "write.lock", purpose="writing to the store")


def prepare(database: Database, path: Path, wanted: Manifest, timeout_s: float) -> Manifest:
    """Make or migrate the tables if need be; return the manifest that is there then."""
    with database.read() as connection:
        current = check_schema(connection, path) == len(MIGRATIONS)
    if not current:
        with write_lock(path).hold(timeout_s):
            database.log_ahead()
            with database.write() as connection:
                fresh = schema_of(connection) == 0
                migrate(connection, path)
                if fresh:
                    connection.execute(insert(schema.manifest), _rows_of(wanted))
    with database.read() as connection:
        return read_manifest(connection)


def read_manifest(connection: Connection) -> Manifest:
    """Return whom the store belongs to."""
    values = {row.key: row.value for row in connection.execute(select(schema.manifest))}
    spec = AdapterSpec(values["base_model"], values["base_fingerprint"], tuple(json.loads(values["targets"])))
    return Manifest(
        id=values["id"],
        schema=int(values["schema"]),
        spec=spec,
        key_encoder=values["key_encoder"],
        dim=int(values["dim"]),
        compiler=values["compiler"],
        created=rows.moment(float(values["created"])),
    )


def refuse_strangers(path: Path, stored: Manifest, wanted: Manifest) -> None:
    """Compare the manifest of a store with what it is opened with.

    Raises:
        AdapterMismatchError: If base model, key encoder or compiler differ, naming those that do.
    """
    expected = {"base model": stored.spec, "key encoder": (stored.key_encoder, stored.dim), "compiler": stored.compiler}
    actual = {"base model": wanted.spec, "key encoder": (wanted.key_encoder, wanted.dim), "compiler": wanted.compiler}
    if _fits(stored.spec, wanted.spec):
        actual["base model"] = stored.spec
    different = [name for name in expected if expected[name] != actual[name]]
    if different:
        found = "; ".join(f"its {name} is {_shown(expected[name])}, not {_shown(actual[name])}" for name in different)
        raise AdapterMismatchError(
            f"opening the store {path}: {found}. Open it with what it was made with, give another path for a new "
            "store, or delete this one and add its documents again to recompile them",
            expected={name: expected[name] for name in different},
            actual={name: actual[name] for name in different},
        )


def refuse_strange_codes(path: Path, manifest: Manifest, codes: Sequence[AtomCode]) -> None:
    """Check that codes are of the store's compiler and base model.

    Raises:
        AdapterMismatchError: Naming the first that is not.
    """
    for code in codes:
        if code.compiler != manifest.compiler or not _fits(code.spec, manifest.spec):
            raise AdapterMismatchError(
                f"storing the code of atom {code.atom_id} in {path}: it was made by {code.compiler} for "
                f"{_shown(code.spec)}, the store holds codes of {manifest.compiler} for {_shown(manifest.spec)}; "
                "compile with that, or use another path",
                expected=(manifest.compiler, manifest.spec),
                actual=(code.compiler, code.spec),
            )


def _fits(one: AdapterSpec, other: AdapterSpec) -> bool:
    return (one.base_fingerprint, one.targets) == (other.base_fingerprint, other.targets)


def _shown(value: object) -> str:
    if isinstance(value, AdapterSpec):
        return f"{value.base_model} (weights {value.base_fingerprint[:12]}, {len(value.targets)} targets)"
    return f"{value[0]} ({value[1]} numbers)" if isinstance(value, tuple) else str(value)


def _rows_of(manifest: Manifest) -> list[dict[str, str]]:
    values = {
        "id": manifest.id,
        "version": "0",
        # The version since which the history is complete.
        "epoch": "0",
        "base_model": manifest.spec.base_model,
        "base_fingerprint": manifest.spec.base_fingerprint,
        "targets": json.dumps(manifest.spec.targets),
        "key_encoder": manifest.key_encoder,
        "dim": str(manifest.dim),
        "compiler": manifest.compiler,
        "created": str(manifest.created.timestamp()),
    }
    return [{"key": key, "value": value} for key, value in values.items()]
