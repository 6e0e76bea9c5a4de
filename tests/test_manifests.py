"""The manifests of all modules, compared with the source and with the database's catalog."""

import ast
import importlib
import pkgutil

import pytest

import shared
from shared.access import actions
from shared.access.actions import ACTIONS, OPERATOR_ACTIONS, Action, OperatorAction
from shared.access.permissions import OperatorPermission, Permission
from shared.audit.event_types import AUDIT_TEXTS, AuditAction, OperatorAuditAction
from shared.core import registry
from shared.core.registry import Module, TableContract
from tests.support import database_catalog, source

ENTRY_POINTS = ("shared/cli/", "tests/")
MODULES = registry.list_modules()
CONTRACTS = registry.list_tables()


@pytest.fixture(scope="module")
def name(schema: str) -> str:
    return schema


def test_modules_are_imported_only_by_entry_points() -> None:
    importers = {
        path
        for path, tree in source.load_trees().items()
        for _, module, imported in source.list_imports(tree)
        if f"{module}.{imported}".startswith("shared.modules")
    }
    assert {path for path in importers if not path.startswith(ENTRY_POINTS)} == set()


def test_every_package_of_the_domain_with_models_or_tasks_has_a_manifest() -> None:
    packages = {
        package.name
        for package in pkgutil.iter_modules(shared.__path__)
        if package.ispkg
        and any(importlib.util.find_spec(f"shared.{package.name}.{part}") for part in ("models", "tasks"))
    }
    assert packages - {module.name for module in MODULES} == set()


@pytest.mark.parametrize("module", MODULES, ids=lambda module: module.name)
def test_manifest_lists_every_table_of_its_package(module: Module) -> None:
    if importlib.util.find_spec(f"shared.{module.name}.models") is None:
        assert module.models == ()
        return
    package = importlib.import_module(f"shared.{module.name}.models")
    tables = {value for value in vars(package).values() if hasattr(value, "__table__")}
    assert set(module.models) == {table for table in tables if table.__module__ == package.__name__}
    assert set(module.tables) <= set(module.models)


def test_every_named_permission_action_and_event_type_is_in_a_manifest() -> None:
    permissions = {permission for module in MODULES for permission in module.permissions}
    assert permissions >= set(Permission) | set(OperatorPermission)
    named = {value.name for value in vars(actions).values() if isinstance(value, Action | OperatorAction)}
    assert named == (ACTIONS.keys() | OPERATOR_ACTIONS.keys()) & named
    assert set(AuditAction) <= AUDIT_TEXTS.keys()


def test_every_action_requires_a_permission_of_a_manifest() -> None:
    permissions = {str(permission) for module in MODULES for permission in module.permissions}
    asked = {str(action.permission) for action in (*ACTIONS.values(), *OPERATOR_ACTIONS.values())}
    assert asked <= permissions


def test_surfaces_are_the_pages_of_both_apps() -> None:
    surfaces = {route: action.name for module in MODULES for route, action in module.surfaces.items()}
    routes = {
        keyword.value.value
        for path, tree in source.load_trees().items()
        if path.startswith(("tenant_app/", "admin_app/"))
        for node in source.list_nodes(tree)
        if isinstance(node, ast.Call) and ast.unparse(node.func) == "rx.page"
        for keyword in node.keywords
        if keyword.arg == "route" and isinstance(keyword.value, ast.Constant)
    }
    assert surfaces.keys() == routes


def test_every_page_of_the_admin_app_is_loaded() -> None:
    """A page that no one imports answers 404."""
    (imported,) = [
        {alias.name for alias in node.names}
        for node in source.list_nodes(source.load_trees()["admin_app/admin_app.py"])
        if isinstance(node, ast.ImportFrom) and node.module == "admin_app.pages"
    ]
    routes = {
        path.removeprefix("admin_app/pages/").partition("/")[0].removesuffix(".py")
        for path, tree in source.load_trees().items()
        if path.startswith("admin_app/pages/")
        and any(
            isinstance(node, ast.Call) and ast.unparse(node.func) == "rx.page"
            for node in source.list_nodes(tree)
        )
    }
    assert imported == routes


def test_every_writing_action_names_its_audit_events() -> None:
    recorded = {name: events for module in MODULES for name, events in module.recorded.items()}
    writing = {action.name for action in (*ACTIONS.values(), *OPERATOR_ACTIONS.values()) if action.writes}
    assert writing - recorded.keys() == {
        actions.SETTINGS_SETUP.name
    }  # setting up is not finished: no event yet
    declared_events = AUDIT_TEXTS.keys() | set(OperatorAuditAction)
    assert {event for events in recorded.values() for event in events} <= declared_events


def test_task_names_are_unique() -> None:
    names = [task for module in MODULES for task in module.tasks]
    assert len(names) == len(set(names))


# ── contracts of tenant tables, and the database's catalog ───────────────────────────────────────────────────────


def test_every_tenant_table_has_a_contract(name: str) -> None:
    assert CONTRACTS.keys() == database_catalog.list_tenant_tables(name)


@pytest.mark.parametrize("table", sorted(CONTRACTS))
def test_contract_names_columns_that_exist(name: str, table: str) -> None:
    columns = {column.name for column in database_catalog.list_columns(table, name)}
    contract = CONTRACTS[table]
    assert {*contract.personal, *contract.sealed} <= columns
    for index in contract.operator_indexes:
        assert set(index.columns) <= columns, index.name


@pytest.mark.parametrize("table", sorted(CONTRACTS))
def test_contract_marks_columns_about_a_person_as_personal(name: str, table: str) -> None:
    columns = {column.name for column in database_catalog.list_columns(table, name)}
    about_people = columns & {"actor_id", "actor_name", "by_id", "by_name", "email", "invited_by", "user_id"}
    assert about_people <= set(CONTRACTS[table].personal)


def test_contract_erases_referring_tables_first(name: str) -> None:
    referring: dict[str, set[str]] = {table: set() for table in CONTRACTS}
    for table in CONTRACTS:
        for reference in database_catalog.list_references(table, name):
            if reference.target in CONTRACTS and reference.target != table:
                referring[reference.target].add(table)
    assert {table: set(contract.erase_after) for table, contract in CONTRACTS.items()} == referring


def test_erase_order_contains_every_table_once() -> None:
    order = registry.list_erase_order()
    assert sorted(order) == sorted(CONTRACTS)
    for table, contract in CONTRACTS.items():
        assert all(order.index(before) < order.index(table) for before in contract.erase_after)


def test_erase_order_is_refused_when_tables_wait_for_each_other(monkeypatch: pytest.MonkeyPatch) -> None:
    circle = {
        "first": TableContract(export=True, erase_after=("second",)),
        "second": TableContract(export=True, erase_after=("first",)),
    }
    monkeypatch.setattr(registry, "list_tables", lambda: circle)
    with pytest.raises(ValueError, match="first"):
        registry.list_erase_order()


def test_indexes_that_do_not_start_with_the_tenant_are_the_listed_ones(name: str) -> None:
    """Source: DECISIONS 6. Each of them serves operators, and says which query."""
    rows = database_catalog.run_query(
        "select r.relname::text, c.relname::text,"
        " (select array_agg(a.attname::text order by k.place) from unnest(i.indkey) with ordinality k(n, place)"
        "  join pg_attribute a on a.attrelid = i.indrelid and a.attnum = k.n)"
        " from pg_index i join pg_class c on c.oid = i.indexrelid join pg_class r on r.oid = i.indrelid"
        " join pg_attribute t on t.attrelid = i.indrelid and t.attname = 'tenant_id'"
        " where r.relnamespace = 'public'::regnamespace and i.indkey[0] <> t.attnum",
        name=name,
    )
    existing = {(table, index, tuple(columns)) for table, index, columns in rows}
    listed = {
        (table, index.name, index.columns)
        for table, contract in CONTRACTS.items()
        for index in contract.operator_indexes
    }
    assert existing == listed
    indexes = [index for contract in CONTRACTS.values() for index in contract.operator_indexes]
    assert all(index.reason and _is_function(index.query) for index in indexes)


def _is_function(path: str) -> bool:
    module, _, function = path.rpartition(".")
    return callable(getattr(importlib.import_module(f"shared.{module}"), function, None))
