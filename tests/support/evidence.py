"""Signed exports and anchors in tests: the file of an export, the script that verifies it, and forged chains."""

import importlib.util
import json
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, LiteralString

import psycopg

from shared.core import installation_keys
from shared.files import storage_registry
from shared.files.local_storage import LocalStorage
from tests.conftest import Person
from tests.support import audit_chains, source
from tests.support.database import admin_url
from tests.support.exports import download, export

SCRIPT = source.ROOT / "docs" / "verify_audit_export.py"
OF_NUMBER: LiteralString = """
 where tenant_id = %(tenant)s and id = (select id from audit_seal where tenant_id = %(tenant)s and seq = %(seq)s)
"""
CUT: LiteralString = """
with last as (select seq, previous_hash from audit_seal where tenant_id = %(tenant)s and seq = %(seq)s),
events as (delete from audit_event where tenant_id = %(tenant)s and id in (
    select id from audit_seal where tenant_id = %(tenant)s and seq >= %(seq)s)),
seals as (delete from audit_seal where tenant_id = %(tenant)s and seq >= %(seq)s)
update audit_head h set seq = l.seq - 1, hash = l.previous_hash from last l where h.tenant_id = %(tenant)s
"""
# What somebody with all rights would do: change an event, and compute every hash behind it again.
REPLACE: LiteralString = """
do $$
declare
    link record;
    last_hash bytea;
begin
    update audit_event e set reason = 'harmless' where tenant_id = '{tenant}' and id = (
        select id from audit_seal where tenant_id = '{tenant}' and seq = {seq});
    update audit_event e set hash = audit_event_hash(e) where tenant_id = '{tenant}' and format = 2;
    select previous_hash into last_hash from audit_seal where tenant_id = '{tenant}' and seq = {seq};
    for link in select s.seq, e.hash from audit_seal s join audit_event e using (tenant_id, id)
            where s.tenant_id = '{tenant}' and s.seq >= {seq} order by s.seq loop
        update audit_seal set previous_hash = last_hash, hash = sha256(last_hash || link.hash)
        where tenant_id = '{tenant}' and seq = link.seq;
        last_hash := sha256(last_hash || link.hash);
    end loop;
    update audit_head set hash = last_hash where tenant_id = '{tenant}';
end $$
"""


def execute_as_superuser(name: str, statement: LiteralString, **values: Any) -> None:
    """A superuser bypasses row security, grants and triggers."""
    with psycopg.connect(admin_url(name)) as connection:
        connection.execute("set session_replication_role = replica")
        connection.execute(statement, values or None)


def cut_chain(name: str, tenant_id: str, number: int) -> None:
    """Delete this event and all after it, with the head of the chain."""
    execute_as_superuser(name, CUT, tenant=tenant_id, seq=number)


def replace_chain(name: str, tenant_id: str, number: int) -> None:
    """Change this event, and every hash that follows from it."""
    with psycopg.connect(admin_url(name)) as connection:
        connection.execute("set session_replication_role = replica")
        connection.execute(REPLACE.format(tenant=tenant_id, seq=number).encode())


@contextmanager
def own_storage(folder: Path) -> Iterator[None]:
    """Files of this test alone: the operators' chain has one anchor in a storage."""
    storage_registry.register(LocalStorage(folder))
    try:
        yield
    finally:
        storage_registry.register(None)


async def write_export(person: Person, folder: Path, export_format: str = "jsonl", **fields: str) -> Path:
    """Seal, export and download."""
    await audit_chains.seal(person)
    view = await export(person, "audit_signed", export_format, **fields)
    answer = await download(person, view.download_path)
    assert answer.status_code == 200, (view, answer.text)
    path = folder / f"export.{export_format}"
    path.write_bytes(answer.content)
    return path


def load_script() -> Any:  # a module that is no part of a package
    spec = importlib.util.spec_from_file_location("verify_audit_export", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


script = load_script()


def list_keys() -> list[str]:
    return [key.public_key for key in installation_keys.list_public_keys()]


def verify(path: Path, **options: Any) -> Sequence[str]:
    """The problems that the script finds with the published keys."""
    problems: list[str] = script.verify_export(path, keys=list_keys(), **options).problems
    return problems


def rewrite(path: Path, change: Callable[[list[str]], None]) -> None:
    """Change the lines of a file."""
    lines = path.read_text().splitlines()
    change(lines)
    path.write_text("\n".join(lines) + "\n")


def read_lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]
