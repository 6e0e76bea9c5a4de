"""Our own source as syntax trees, for tests that read code instead of running it."""

import ast
import gc
from collections.abc import Iterator
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parents[2]
PACKAGES = ("shared", "tenant_app", "admin_app")


@cache
def load_trees(packages: tuple[str, ...] = PACKAGES) -> dict[str, ast.Module]:
    """By path, as in "shared/core/db.py"."""
    files = [file for package in packages for file in sorted((ROOT / package).rglob("*.py"))]
    gc.disable()  # looking for garbage among a million new nodes takes longer than parsing
    try:
        return {str(file.relative_to(ROOT)): ast.parse(file.read_text(), str(file)) for file in files}
    finally:
        gc.freeze()  # nor is it looked for among them later: they stay
        gc.enable()


@cache
def list_nodes(tree: ast.AST) -> tuple[ast.AST, ...]:
    """All nodes of a tree that stays, as `ast.walk` gives them: walking anew costs ten times as much."""
    return tuple(ast.walk(tree))


def list_imports(tree: ast.AST) -> Iterator[tuple[int, str, str]]:
    """Line, module, name; the name is "" for `import module`."""
    for node in list_nodes(tree):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name, "") for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield from ((node.lineno, node.module, alias.name) for alias in node.names)


def list_calls(tree: ast.AST) -> Iterator[tuple[int, str]]:
    """Line and last word of what is called: "Ctx" for both `Ctx(…)` and `ctx.Ctx(…)`."""
    for node in list_nodes(tree):
        if isinstance(node, ast.Call):
            if isinstance(node.func, ast.Name):
                yield node.lineno, node.func.id
            elif isinstance(node.func, ast.Attribute):
                yield node.lineno, node.func.attr
