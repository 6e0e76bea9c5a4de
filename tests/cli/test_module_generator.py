"""`bulkhead new-module`: the files of a module, the three edited lists, and the guide made from the same source."""

import ast
import shutil
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from shared.cli import module_generator
from shared.core.config import ConfigurationError
from tests import test_architecture, test_wording
from tests.support import source

ROOT = Path(__file__).parents[2]
COPIED = ("admin_app", "alembic", "docs", "shared", "tenant_app", "tests")


@pytest.fixture
def source_tree(tmp_path: Path) -> Path:
    """A copy of the source, without data and environments."""
    for folder in COPIED:
        shutil.copytree(ROOT / folder, tmp_path / folder, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "rxconfig.py"):
        shutil.copy(ROOT / name, tmp_path / name)
    return tmp_path


def run(source_tree: Path, *command: str) -> None:
    """In the copy, with the tools of this environment."""
    tools = Path(sys.executable).parent
    completed = subprocess.run(
        [tools / command[0], *command[1:]], cwd=source_tree, capture_output=True, text=True, check=False
    )
    assert completed.returncode == 0, f"{command}\n{completed.stdout[-4000:]}\n{completed.stderr[-2000:]}"


def test_guide_is_written_from_the_templates() -> None:
    page = (ROOT / "docs" / "adding-a-module.md").read_text()
    assert page == module_generator.render_guide(), (
        "write it again: .venv/bin/bulkhead docs adding-a-module > docs/adding-a-module.md"
    )
    assert "{{" not in page


@pytest.mark.parametrize(
    "rule",
    [
        test_architecture.test_contexts_are_created_only_by_entry,
        test_architecture.test_functions_with_an_operator_context_are_in_backoffice,
        test_architecture.test_paging_and_dialogs_are_inherited_from_the_mixins,
        test_architecture.test_repositories_are_imported_only_by_their_module,
        test_architecture.test_row_locks_let_referring_rows_be_inserted,
        test_architecture.test_sql_is_written_only_in_repositories,
        test_architecture.test_there_is_one_class_for_a_page_of_rows,
        partial(test_wording.test_product_is_worded_plainly, test_wording.list_docstrings),
        partial(test_wording.test_product_is_worded_plainly, test_wording.list_texts),
    ],
)
def test_templates_keep_the_rules_of_the_product(
    rule: Callable[[], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    trees = {
        template.path: ast.parse(template.text)
        for template in module_generator.list_templates()
        if template.path.startswith(source.PACKAGES)
    }
    monkeypatch.setattr(source, "load_trees", lambda *_: trees)
    rule()


@pytest.mark.parametrize("name", ["", "Projects", "project", "../projects", "tenancys/x"])
def test_new_module_is_refused_for_a_name_that_is_no_plural(source_tree: Path, name: str) -> None:
    with pytest.raises(ConfigurationError):
        module_generator.write_module(name, source_tree)


def test_new_module_is_refused_when_the_module_exists(source_tree: Path) -> None:
    module_generator.write_module("projects", source_tree)
    with pytest.raises(ConfigurationError, match="exists"):
        module_generator.write_module("projects", source_tree)


@pytest.mark.parametrize(
    "name",
    [
        pytest.param("settings", id="page"),
        pytest.param("members", id="package of pages"),
        pytest.param("plans", id="table"),
        pytest.param("homes", id="permission"),
        pytest.param("orders", id="reserved word of SQL"),
        pytest.param("imports", id="reserved word of Python"),
    ],
)
def test_new_module_is_refused_when_its_name_is_in_use(source_tree: Path, name: str) -> None:
    before = {path: path.read_bytes() for path in source_tree.rglob("*") if path.is_file()}
    with pytest.raises(ConfigurationError, match="Choose another name"):
        module_generator.write_module(name, source_tree)
    assert {path: path.read_bytes() for path in source_tree.rglob("*") if path.is_file()} == before


@pytest.mark.parametrize("name", ["projects", "widgets"])
def test_new_module_edits_three_files_and_passes_the_linters(source_tree: Path, name: str) -> None:
    before = {path: path.read_bytes() for path in source_tree.rglob("*") if path.is_file()}
    module_generator.write_module(name, source_tree)
    edited = {
        str(path.relative_to(source_tree)) for path, content in before.items() if path.read_bytes() != content
    }
    assert edited == {"shared/modules.py", "tenant_app/nav.py", "pyproject.toml"}
    contracts = (source_tree / "pyproject.toml").read_text()
    assert contracts.count(f'"{name}", ') == 1, "the layers"
    assert contracts.count(f'"shared.{name}", ') == 3, "the contracts that list every module"
    run(source_tree, "ruff", "check", "--no-cache", ".")
    run(source_tree, "ruff", "format", "--no-cache", "--check", ".")
    run(source_tree, "lint-imports", "--no-cache")


@pytest.mark.long
def test_new_module_passes_types_tests_and_attacks(source_tree: Path) -> None:
    """The whole of what docs/adding-a-module.md promises, in the copy."""
    module_generator.write_module("projects", source_tree)
    run(source_tree, "mypy", f"--cache-dir={source_tree}/.mypy_cache")
    run(
        source_tree,
        "python",
        "-m",
        "pytest",
        "-n",
        "0",
        "-p",
        "no:cacheprovider",
        "tests/projects",
        "tests/test_architecture.py",
        "tests/test_manifests.py",
        "tests/test_migration_lint.py",
    )
    run(source_tree, "python", "-m", "tests.attack")
