"""`bulkhead new-module`: writes the files of a small complete module, which docs/adding-a-module.md explains.

The templates are the files of the example module `projects`. The first line of each is its path.
"""

import difflib
import importlib.util
import keyword
import re
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy.dialects.postgresql.base import RESERVED_WORDS
from sqlmodel import SQLModel

from shared import modules
from shared.core import registry
from shared.core.config import ConfigurationError

ROOT = Path(__file__).parents[2]
TEMPLATES = Path(__file__).parent / "module_template" / "files"
NAME_PATTERN = re.compile(r"[a-z]{3,20}s")
MODULE_LINE = re.compile(r'    "[a-z_]+",$')
IMPORT_LINE = re.compile(r"from shared\.")
LAYERS_MARK = '"ui | web", "backoffice", '
CONTRACT_MARK = '"shared.tenancy", "shared.metering", '


@dataclass(frozen=True, slots=True, kw_only=True)
class TemplateFile:
    path: str
    text: str


def list_templates() -> list[TemplateFile]:
    """The files of `projects`, in the order in which the guide explains them."""
    contents = [template.read_text() for template in sorted(TEMPLATES.glob("*.txt"))]
    return [_parse_template(content) for content in contents]


def write_module(name: str, root: Path = ROOT) -> list[str]:
    """Writes the files and edits the three lists. `name`: the plural, as in "projects". Returns the paths.

    Raises ConfigurationError for a name that cannot be used, or that exists.
    """
    if NAME_PATTERN.fullmatch(name) is None:
        raise ConfigurationError("A module is named by a plural of 4 to 21 letters, such as projects.")
    _require_free_noun(name.removesuffix("s"))
    revision = _next_revision(root)
    files = [_rename_file(template, name, revision) for template in list_templates()]
    _require_free_paths([file.path for file in files], root)
    for file in files:
        path = root / file.path
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(file.text)
    _format_files([file.path for file in files if file.path.endswith(".py")], root)
    return [*(file.path for file in files), *_edit_lists(name, root)]


def _require_free_noun(noun: str) -> None:
    """The noun names a table, permissions and variables. Raises ConfigurationError where it cannot."""
    if keyword.iskeyword(noun) or noun in RESERVED_WORDS:
        raise ConfigurationError(f"{noun} is a reserved word of Python or SQL. Choose another name.")
    modules.load()
    permissions = [permission for module in registry.list_modules() for permission in module.permissions]
    if noun in SQLModel.metadata.tables or any(
        permission.startswith(f"{noun}:") for permission in permissions
    ):
        raise ConfigurationError(f"A table or a permission named {noun} exists. Choose another name.")


def _require_free_paths(paths: list[str], root: Path) -> None:
    """Raises ConfigurationError for a file that exists, and for a page that is a package."""
    for path in paths:
        for existing_path in (root / path, (root / path).with_suffix("")):
            if existing_path.exists():
                raise ConfigurationError(f"{existing_path.relative_to(root)} exists. Choose another name.")


def _parse_template(content: str) -> TemplateFile:
    path, _, text = content.partition("\n")
    return TemplateFile(path=path, text=text)


def _rename_file(template: TemplateFile, name: str, revision: int) -> TemplateFile:
    path = _rename(template.path, name).replace("0000", f"{revision:04}")
    text = _rename(template.text, name)
    text = text.replace('"0000"', f'"{revision:04}"').replace("PREVIOUS", f"{revision - 1:04}")
    return TemplateFile(path=path, text=text)


def _rename(text: str, name: str) -> str:
    """In every spelling: projects, project, Projects, Project, PROJECT, and the prefix of ids."""
    singular = name.removesuffix("s")
    for old, new in (
        ("project", singular),
        ("Project", singular.capitalize()),
        ("PROJECT", singular.upper()),
    ):
        text = text.replace(old, new)
    return re.sub(r"\bprj\b", singular[:6], text)


def _next_revision(root: Path) -> int:
    numbers = [int(path.name[:4]) for path in (root / "alembic" / "versions").glob("[0-9]*.py")]
    return max(numbers) + 1


def _format_files(paths: list[str], root: Path) -> None:
    """Imports and line breaks depend on the name. Ruff is there where `make check` was run once."""
    if importlib.util.find_spec("ruff") is not None:
        for command in (["check", "--select", "I", "--fix"], ["format"]):
            run_ruff = [sys.executable, "-m", "ruff", *command, "--quiet", "--no-cache", *paths]
            subprocess.run(run_ruff, cwd=root, check=True)


def _edit_lists(name: str, root: Path) -> list[str]:
    for path, edit in LIST_EDITS.items():
        lines = (root / path).read_text().split("\n")
        (root / path).write_text("\n".join(edit(lines, name)))
    return list(LIST_EDITS)


def _add_to_modules(lines: list[str], name: str) -> list[str]:
    return _add_sorted(lines, f'    "{name}",', like=MODULE_LINE)


def _add_sorted(lines: list[str], line: str, *, like: re.Pattern[str]) -> list[str]:
    """Into the alphabetical lines that match `like`."""
    places = [place for place, line_before in enumerate(lines) if like.match(line_before)]
    place = next((place for place in places if lines[place] > line), places[-1] + 1)
    return [*lines[:place], line, *lines[place:]]


def _add_navigation(lines: list[str], name: str) -> list[str]:
    action = f"{name.removesuffix('s').upper()}_READ"
    imported = f"from shared.{name}.actions import {action}"
    lines = _add_sorted(lines, imported, like=IMPORT_LINE)
    place = next(place for place, line in enumerate(lines) if 'NavLink("Roles"' in line)
    link = f'NavLink("{name.capitalize()}", page_href("{name}"), "folder", visible=is_allowed({action})),'
    return [*lines[:place], f"        {link}", *lines[place:]]


def _add_layer(lines: list[str], name: str) -> list[str]:
    """Product modules are below the back office and above billing. Other contracts list every module."""
    lines = [line.replace(LAYERS_MARK, f'{LAYERS_MARK}"{name}", ', 1) for line in lines]
    return [line.replace(CONTRACT_MARK, f'{CONTRACT_MARK}"shared.{name}", ', 1) for line in lines]


# The list of modules, the navigation of the tenant app and the layers of the import contract.
LIST_EDITS: dict[str, Callable[[list[str], str], list[str]]] = {
    "shared/modules.py": _add_to_modules,
    "tenant_app/nav.py": _add_navigation,
    "pyproject.toml": _add_layer,
}


def render_guide() -> str:
    """docs/adding-a-module.md, in Markdown: the text of the guide with every file and edit of the example in it."""
    guide = (TEMPLATES.parent / "guide.md").read_text()
    for template in list_templates():
        language = "python" if template.path.endswith(".py") else ""
        shown = f"`{template.path}`\n\n```{language}\n{template.text}```"
        guide = guide.replace(f"{{{{{template.path}}}}}", shown)
    for path in LIST_EDITS:
        guide = guide.replace(f"{{{{{path}}}}}", f"```diff\n{_render_edit(path)}\n```")
    return guide


def _render_edit(path: str) -> str:
    """The changed lines, each with its neighbours. Line numbers are left out, because other changes move them."""
    before = (ROOT / path).read_text().split("\n")
    difference = difflib.unified_diff(before, LIST_EDITS[path](before, "projects"), n=1, lineterm="")
    lines = [line for line in difference if not line.startswith(("---", "+++"))]
    return "\n".join("…" if line.startswith("@@") else line for line in lines[1:])
