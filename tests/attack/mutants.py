"""Our own statements without their tenant filter: one mutant for every comparison with a tenant in a repository."""

import ast
import copy
import importlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from tests.attack.apps import ROOT

RAW = "tenant_id = :tenant_id"
COLUMNS = ("tenant_id", "user_id")
OF_NO_TENANT = "identity.repository"  # people belong to nobody


@dataclass(frozen=True)
class Mutant:
    name: str  # as in "tenancy.provisioning_repository.list_steps, filter 1"
    module: str
    tree: ast.Module
    place: int  # of the node that is changed, in the order of walking

    @contextmanager
    def alive(self) -> Iterator[None]:
        """In the place of the module's own functions."""
        module = importlib.import_module(self.module)
        known = dict(vars(module))
        exec(compile(_without(self.tree, self.place), f"<{self.name}>", "exec"), vars(module))
        try:
            yield
        finally:
            vars(module).update(known)


def find() -> list[Mutant]:
    found = []
    for file in sorted((ROOT / "shared").rglob("*repository.py")):
        module = ".".join(file.relative_to(ROOT).with_suffix("").parts)
        if module.endswith(OF_NO_TENANT):
            continue
        tree, place = ast.parse(file.read_text()), 0
        for part in tree.body:
            number = 0
            for node in ast.walk(part):
                if _is_filter(node):
                    number += 1
                    name = getattr(part, "name", ast.unparse(part).partition(" ")[0])
                    full = f"{module.removeprefix('shared.')}.{name}, filter {number}"
                    found.append(Mutant(full, module, tree, place))
                    place += 1
    return found


def _without(tree: ast.Module, place: int) -> ast.Module:
    """A copy in which the filter at this place lets everything through."""
    tree = copy.deepcopy(tree)
    gone = [node for part in tree.body for node in ast.walk(part) if _is_filter(node)][place]
    if isinstance(gone, ast.Constant):
        gone.value = str(gone.value).replace(RAW, "true", 1)
    else:
        assert isinstance(gone, ast.Compare)
        gone.ops, gone.comparators = [ast.Eq()], [gone.left]  # a column equals itself
    return ast.fix_missing_locations(tree)


def _is_filter(node: ast.AST) -> bool:
    if isinstance(node, ast.Constant):
        return isinstance(node.value, str) and RAW in node.value
    if not isinstance(node, ast.Compare) or not isinstance(node.ops[0], ast.Eq):
        return False
    given = node.comparators[0]
    word = given.attr if isinstance(given, ast.Attribute) else given.id if isinstance(given, ast.Name) else ""
    of_ctx = not isinstance(given, ast.Attribute) or ast.unparse(given).startswith("ctx.")
    return word in COLUMNS and of_ctx and "." in ast.unparse(node.left)
