"""Our own statements, each without one of its tenant filters.

Every comparison with a tenant in a repository gets a mark: `or 'name' = 'kept'`, which is false and changes nothing.
A filter is removed by making its mark true in the text of the statement. So one marked copy of the repositories serves
for all mutants, and what is executed tells which filters a call reaches and which of them decide about rows.
"""

import ast
import importlib
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from typing import Any

import sqlalchemy as sa
from sqlalchemy import event
from sqlalchemy.exc import DBAPIError

from tests.attack.apps import ROOT

RAW = re.compile(
    r"(?:\b[a-z]+\.)?\btenant_id = :tenant_id"
)  # in SQL text, with the name of its table or without
COLUMNS = ("tenant_id", "user_id")
OF_NO_TENANT = ("identity.repository", "identity.factor_reset_repository")  # people belong to nobody
MARK = re.compile(r"'([^']+)' = 'kept'")
ADD_MARK = "_add_mark"  # name of the function in a marked repository

NOT_EXECUTED = "no call executes a statement with it"
WITHOUT_ROWS = "no call finds a row in the world that only this filter keeps away"


@dataclass
class Mutants:
    """The filters of the marked repositories, and what was seen of them in the statements that were executed."""

    names: list[str]
    removed: str = ""
    executed_by: dict[str, set[str]] = field(default_factory=dict)  # filter: probes
    decisive: set[str] = field(default_factory=set)  # without one of these a statement gave other rows
    _probe: str = ""
    _compares: bool = False
    _compared: set[tuple[str, str]] = field(default_factory=set)  # statements with their parameters

    @contextmanager
    def watched(self, probe: str) -> Iterator[None]:
        """Records for this part of the attack which filters it executes, and which of them decide about rows."""
        self._probe = probe
        try:
            yield
        finally:
            self._probe = ""

    @contextmanager
    def without(self, name: str) -> Iterator[None]:
        self.removed = name
        try:
            yield
        finally:
            self.removed = ""

    def blind(self) -> dict[str, str]:
        """Filters whose removal nothing could notice, with the reason, after everything was watched."""
        return {
            name: WITHOUT_ROWS if name in self.executed_by else NOT_EXECUTED
            for name in self.names
            if name not in self.decisive
        }

    def before_execute(
        self,
        connection: sa.Connection,
        cursor: Any,
        statement: str,
        parameters: Any,
        context: Any,
        many: bool,
    ) -> tuple[str, Any]:
        """As SQLAlchemy calls it. Gives the statement without the filter that is removed."""
        if not self._compares:
            names = MARK.findall(statement) if self._probe else []
            for name in names:
                self.executed_by.setdefault(name, set()).add(self._probe)
            if undecided := {*names} - self.decisive:
                self.decisive |= self._list_decisive(undecided, connection, statement, parameters)
            statement = _without(statement, self.removed)
        return statement, parameters

    def _list_decisive(
        self, names: set[str], connection: sa.Connection, statement: str, parameters: Any
    ) -> set[str]:
        """Those of these filters without which the statement gives other rows. A read that was compared gives nothing new."""
        call = (statement, repr(parameters))
        if call in self._compared:
            return set()
        if statement.lstrip().lower().startswith("select"):
            self._compared.add(call)
        self._compares = True
        try:
            with_it = _rows(connection, statement, parameters)
            return {
                name for name in names if _rows(connection, _without(statement, name), parameters) != with_it
            }
        finally:
            self._compares = False


def _without(statement: str, name: str) -> str:
    return statement.replace(f"'{name}' = 'kept'", "true")


def _rows(connection: sa.Connection, statement: str, parameters: Any) -> list[str]:
    """In any order, because a plan may change it; the number of those that are changed. Nothing of it stays."""
    savepoint = connection.begin_nested()
    try:
        result = connection.exec_driver_sql(statement, parameters)
        return sorted(map(repr, result)) if result.returns_rows else [str(result.rowcount)]
    except DBAPIError as problem:  # such as two rows where one may be
        return [type(problem.orig).__name__]
    finally:
        savepoint.rollback()


@contextmanager
def marked() -> Iterator[Mutants]:
    """With marked functions in the place of the repositories' own."""
    sources = _sources()
    mutants = Mutants([name for _, _, names in sources for name in names])
    before = {module: dict(vars(importlib.import_module(module))) for module, _, _ in sources}
    event.listen(sa.Engine, "before_cursor_execute", mutants.before_execute, retval=True)
    try:
        for module, tree, _ in sources:
            namespace = vars(importlib.import_module(module))
            namespace[ADD_MARK] = _add_mark
            exec(compile(tree, f"<{module}, marked>", "exec"), namespace)
        yield mutants
    finally:
        event.remove(sa.Engine, "before_cursor_execute", mutants.before_execute)
        for module, names in before.items():
            vars(importlib.import_module(module)).update(names)


def find() -> list[str]:
    """Names of all filters, as in "tenancy.provisioning_repository.list_steps, filter 1"."""
    return [name for _, _, names in _sources() for name in names]


@cache
def _sources() -> list[tuple[str, ast.Module, list[str]]]:
    """Module, its marked code and the names of its filters."""
    sources = []
    for file in sorted((ROOT / "shared").rglob("*repository.py")):
        module = ".".join(file.relative_to(ROOT).with_suffix("").parts)
        if module.endswith(OF_NO_TENANT):
            continue
        tree, names = ast.parse(file.read_text()), list[str]()
        for number, part in enumerate(tree.body):
            word = getattr(part, "name", ast.unparse(part).partition(" ")[0])
            marker = _Marker(f"{module.removeprefix('shared.')}.{word}")
            tree.body[number] = marker.visit(part)
            names += marker.names
        sources.append((module, ast.fix_missing_locations(tree), names))
    return sources


class _Marker(ast.NodeTransformer):
    def __init__(self, place: str) -> None:
        """`place`: function or constant whose filters are marked."""
        self.place, self.names = place, list[str]()

    def visit_Compare(self, node: ast.Compare) -> ast.AST:
        self.generic_visit(node)
        if not _is_filter(node):
            return node
        return ast.Call(ast.Name(ADD_MARK, ast.Load()), [node, ast.Constant(self._name())], [])

    def visit_Constant(self, node: ast.Constant) -> ast.AST:
        if isinstance(node.value, str):
            marked = RAW.sub(lambda found: f"({found[0]} or '{self._name()}' = 'kept')", node.value)
            return ast.Constant(marked)
        return node

    def _name(self) -> str:
        self.names.append(f"{self.place}, filter {len(self.names) + 1}")
        return self.names[-1]


def _is_filter(node: ast.Compare) -> bool:
    if not isinstance(node.ops[0], ast.Eq):
        return False
    operand = node.comparators[0]
    word = (
        operand.attr
        if isinstance(operand, ast.Attribute)
        else operand.id
        if isinstance(operand, ast.Name)
        else ""
    )
    of_ctx = not isinstance(operand, ast.Attribute) or ast.unparse(operand).startswith("ctx.")
    return word in COLUMNS and of_ctx and "." in ast.unparse(node.left)


def _add_mark(condition: Any, name: str) -> Any:
    return sa.or_(condition, sa.literal_column(f"'{name}' = 'kept'", sa.Boolean))
