"""Nothing in the product is left over: each function, class and constant is named somewhere else as well."""

import ast
import re
from collections import Counter
from collections.abc import Iterator

from tests.support import source

CALLED_BY_LIBRARIES = {  # by their name
    "ThemePlugin": "by rxconfig.py",
    "fold": "by email",
    "get_static_assets": "by Reflex",
    "get_stylesheet_paths": "by Reflex",
    "_getaddr": "by aiosmtpd",
    "factory": "by aiosmtpd",
    "handle_DATA": "by aiosmtpd",
    "handle_RCPT": "by aiosmtpd",
    "max_header_length": "by joserfc",
    "request_async": "by stripe",
}
WORD = re.compile(r"[A-Za-z_]\w*")


def list_unused(sources: dict[str, str], users: str) -> list[str]:
    """Names that are defined without a decorator, and written once in all `sources` and in `users`."""
    counts = Counter(WORD.findall("\n".join([*sources.values(), users])))
    return [
        f"{path}:{line} {name}"
        for path, text in sources.items()
        for name, line in _list_definitions(ast.parse(text))
        if counts[name] == 1 and not name.startswith("__")
    ]


def _list_definitions(tree: ast.Module) -> Iterator[tuple[str, int]]:
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            if not node.decorator_list:
                yield node.name, node.lineno
        elif isinstance(node, ast.Assign):
            yield from ((target.id, node.lineno) for target in node.targets if isinstance(target, ast.Name))


def test_nothing_of_the_product_is_unused() -> None:
    sources = {path: (source.ROOT / path).read_text() for path in source.load_trees()}
    template = source.ROOT / "shared/cli/module_template"
    users = [*(source.ROOT / "tests").rglob("*.py"), *(source.ROOT / "alembic").rglob("*.py")]
    users += [file for file in template.rglob("*") if file.is_file() and file.suffix != ".py"]
    text = "\n".join(file.read_text() for file in users)
    unused = {entry.rpartition(" ")[2]: entry for entry in list_unused(sources, text)}
    assert [entry for name, entry in unused.items() if name not in CALLED_BY_LIBRARIES] == []


def test_unused_function_is_found() -> None:
    sources = {
        "a.py": "def left_over():\n    pass\n\n\ndef used():\n    pass\n",
        "b.py": "from a import used\n",
    }
    assert list_unused(sources, "") == ["a.py:1 left_over"]
