"""The documents for builders name files and functions that exist."""

import ast
import re
from collections.abc import Iterator

import pytest

from tests.support.source import ROOT

DOCUMENTS = ("docs/architecture.md", "docs/billing-pipeline.md")
STEP = re.compile(r"^\|[^|]+\|(?P<files>[^|]+)\|(?P<functions>[^|]+)\|$", re.MULTILINE)


def list_steps() -> Iterator[tuple[str, str, str]]:
    """Document, cell of files and cell of functions of each step of a walk."""
    for document in DOCUMENTS:
        for step in STEP.finditer((ROOT / document).read_text()):
            if "/" in step["files"] and "`" in step["functions"]:
                yield document, step["files"], step["functions"]


def expand_files(cell: str) -> Iterator[str]:
    """`billing/{signature,ingest}.py` names two files; the folder `shared/` may be left out."""
    for name in re.findall(r"`([^`]+)`", cell):
        start, _, rest = name.partition("{")
        choices, _, end = rest.partition("}")
        yield from (f"{start}{choice}{end}" for choice in choices.split(","))


def list_source_files(name: str) -> list[str]:
    """The text of the file, or of every file of the package."""
    paths = [path for root in (ROOT, ROOT / "shared") for path in (root / name, root / f"{name}.py")]
    found = next((path for path in paths if path.exists()), None)
    assert found is not None, f"there is no {name}"
    return [path.read_text() for path in ([found] if found.is_file() else sorted(found.rglob("*.py")))]


def list_definitions(source: str) -> Iterator[str]:
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            yield node.name
        if isinstance(node, ast.ClassDef):
            yield from (
                f"{node.name}.{member.name}"
                for member in node.body
                if isinstance(member, ast.FunctionDef | ast.AsyncFunctionDef)
            )


@pytest.mark.parametrize(("document", "files", "functions"), list(list_steps()))
def test_steps_of_a_walk_name_existing_functions(document: str, files: str, functions: str) -> None:
    sources = [source for name in expand_files(files) for source in list_source_files(name)]
    definitions = {name for source in sources for name in list_definitions(source)}
    # The base class may define what the page's state is named with.
    inherited = {name.rpartition(".")[2] for name in definitions}
    for name in re.findall(r"`([\w.]+)`", functions):
        assert name in definitions or name.rpartition(".")[2] in inherited, f"{document}: {name}"
