"""The documents for builders name files and functions that exist."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.source import ROOT

DOCUMENTS = ("docs/architecture.md", "docs/billing-pipeline.md")
NAMED_FILE = re.compile(r"(`[a-z_]+(?:/[\w{},]+)+\.py`)")
NUMBER_WORDS = (
    "no",
    "one",
    "two",
    "three",
    "four",
    "five",
    "six",
    "seven",
    "eight",
    "nine",
    "ten",
    "eleven",
    "twelve",
)
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
        start, _, remainder = name.partition("{")
        choices, _, end = remainder.partition("}")
        yield from (f"{start}{choice}{end}" for choice in choices.split(","))


def list_source_files(name: str) -> list[str]:
    """The text of the file, or of every file of the package."""
    paths = [path for root in (ROOT, ROOT / "shared") for path in (root / name, root / f"{name}.py")]
    source = next((path for path in paths if path.exists()), None)
    assert source is not None, f"there is no {name}"
    return [path.read_text() for path in ([source] if source.is_file() else sorted(source.rglob("*.py")))]


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


def list_documents() -> list[Path]:
    """Those that say what is true now; the decisions say what was true then. The guide's files don't exist yet."""
    documents = [*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md")]
    return [path for path in documents if path.name not in ("CHANGELOG.md", "adding-a-module.md")]


def list_anchors(document: Path) -> set[str]:
    """The names by which links reach the headings, as GitHub makes them."""
    headings = re.findall(r"^#+ (.+)$", document.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_files_named_by_documents_exist() -> None:
    missing = [
        f"{document.name}: {name}"
        for document in list_documents()
        for cell in NAMED_FILE.findall(document.read_text())
        for name in expand_files(cell)
        if not any((root / name).exists() for root in (ROOT, ROOT / "shared"))
    ]
    assert missing == []


def test_links_of_documents_lead_somewhere() -> None:
    broken = [
        f"{document.name}: {target}"
        for document in list_documents()
        for target in re.findall(r"\]\(([^)\s]+)\)", document.read_text())
        if not target.startswith("http")
        for path, _, anchor in [target.partition("#")]
        for linked in [document.parent / path if path else document]
        if not linked.exists() or (anchor and anchor not in list_anchors(linked))
    ]
    assert broken == []


def test_architecture_counts_its_walks() -> None:
    text = (ROOT / "docs/architecture.md").read_text()
    walks = text.partition(" requests\n")[2].partition("\n## ")[0]
    count = NUMBER_WORDS[len(re.findall(r"^### \d\.", walks, re.MULTILINE))]
    assert f"\n## {count.capitalize()} requests\n" in text
    assert f"{count} requests step by" in text


@pytest.mark.parametrize(("document", "files", "functions"), list(list_steps()))
def test_steps_of_a_walk_name_existing_functions(document: str, files: str, functions: str) -> None:
    sources = [source for name in expand_files(files) for source in list_source_files(name)]
    definitions = {name for source in sources for name in list_definitions(source)}
    # The base class may define what the page's state is named with.
    inherited = {name.rpartition(".")[2] for name in definitions}
    for name in re.findall(r"`([\w.]+)`", functions):
        class_name, _, function = name.rpartition(".")
        assert function in inherited, f"{document}: {name}"
        assert not class_name or class_name in definitions, f"{document}: {name}"
