"""Docstrings name errors that exist: a caller relies on them."""

import ast
import builtins
import re
from collections.abc import Iterator

from tests.support import source

RAISES = re.compile(r"\b[Rr]aises ((?:an? )?[A-Z]\w+)")


def list_raised_names(tree: ast.AST) -> Iterator[tuple[int, str]]:
    """Line and name of every error that a docstring says is raised."""
    for node in source.list_nodes(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            for match in RAISES.finditer(ast.get_docstring(node) or ""):
                yield node.lineno, match[1].rpartition(" ")[2]


def list_known_names(tree: ast.AST) -> Iterator[str]:
    for node in source.list_nodes(tree):
        if isinstance(node, ast.ClassDef):
            yield node.name
        if isinstance(node, ast.ImportFrom):
            yield from (alias.asname or alias.name for alias in node.names)


def test_docstrings_name_errors_that_exist() -> None:
    trees = source.load_trees()
    known = {name for tree in trees.values() for name in list_known_names(tree)} | set(dir(builtins))
    unknown = [
        f"{path}:{line}: {name}"
        for path, tree in trees.items()
        for line, name in list_raised_names(tree)
        if name not in known
    ]
    assert unknown == []
