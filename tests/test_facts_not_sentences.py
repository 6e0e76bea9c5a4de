"""Code decides by facts: no limit is compared by its name, and no sentence of ours is parsed."""

import ast
import re
from collections.abc import Iterator

import pytest

from shared.entitlements.limits import LIMITS
from tests.support import source

PARSING_METHODS = {
    "endswith",
    "find",
    "index",
    "partition",
    "removeprefix",
    "removesuffix",
    "replace",
    "rfind",
    "rindex",
    "rpartition",
    "rsplit",
    "split",
    "startswith",
}
# Words of other programs, which have no code for what they say; and lines of Python in a generator of Python.
OTHERS_WORDS = {
    ("shared/billing/stripe_adapter/errors.py", "already exists with identifier"),
    ("shared/cli/database_roles.py", "does not exist"),
    ("shared/dev/install_packages.py", "Ignoring "),  # pip's
    (
        "shared/dev/install_packages.py",
        "Installing collected packages",
    ),  # a failed connection has no SQLSTATE
    ("shared/cli/database_roles.py", 'database "'),
    ("shared/cli/database_diagnosis.py", "password authentication failed"),
    ("shared/cli/database_diagnosis.py", 'role "0" does not exist'),
    ("shared/cli/frontend_build.py", "Invalid icon tag"),
    ("shared/cli/frontend_build.py", "No space left"),
    ("shared/cli/module_generator.py", "LAYERS_MARK"),
    ("shared/cli/module_generator.py", "CONTRACT_MARK"),
    ("shared/dev/postgres.py", "NO_SPACE_MESSAGE"),
    ("shared/dev/postgres.py", "pre-existing shared memory"),
}
PARSED_SENTENCES = [
    'text.endswith("became none.")',
    'text.endswith((" early.", "?"))',
    'text.removeprefix(f"{name} does. ")',
    'title.replace("draft of ", "")',
    'words.removesuffix(" …")',
    '" and " in plans',
    'phase.why == "The trial ended"',
    'problem not in ("unknown parameter", "missing parameter")',
    'match text:\n    case "Not there.":\n        pass',
    "phase.why == schedule.TRIAL_ENDED",
    "text.startswith(TRIAL_ENDED)",
]
OTHER_TEXT = [
    'key.replace("_", " ").capitalize()',
    'reason.endswith((".", "?", "…"))',
    'event_type.startswith("provisioning.")',
    '"secret" in key',
    'f"{title} needs an amount."',
    'status == "read_only"',
]


def test_no_limit_is_compared_by_its_name() -> None:
    violations = {
        f"{path}:{line}"
        for path, tree in source.load_trees().items()
        if path.startswith(("shared/", "tenant_app/"))
        for line in find_compared_limits(tree)
    }
    assert violations == set()


@pytest.mark.parametrize(
    ("code", "is_found"),
    [
        ('if limit == "members": pass', True),
        ('count = count_roles() if "roles" == name else 0', True),
        ('known = limit in ("members", "roles")', True),
        ('match name:\n    case "api_keys":\n        pass', True),
        ("if name != SEAT_LIMIT: pass", True),
        ("if name != seats.SEAT_LIMIT: pass", True),
        ('limits["members"].amount', False),
        ('amounts = {"members": 5}', False),
        ('limit == ""', False),
    ],
)
def test_compared_limits_are_found(code: str, is_found: bool) -> None:
    assert bool(list(find_compared_limits(ast.parse(code)))) is is_found


def test_no_sentence_of_ours_is_parsed() -> None:
    violations = {
        f"{path}:{line}: {words}"
        for path, line, words in list_parsed_sentences()
        if (path, words) not in OTHERS_WORDS
    }
    assert violations == set()


def test_every_exception_is_still_needed() -> None:
    assert {(path, words) for path, _, words in list_parsed_sentences()} >= OTHERS_WORDS


@pytest.mark.parametrize("code", PARSED_SENTENCES)
def test_parsed_sentences_are_found(code: str) -> None:
    assert list(find_parsed_sentences(ast.parse(code), {"TRIAL_ENDED"}))


@pytest.mark.parametrize("code", OTHER_TEXT)
def test_other_text_is_not_taken_for_a_parsed_sentence(code: str) -> None:
    assert not list(find_parsed_sentences(ast.parse(code), {"TRIAL_ENDED"}))


def find_compared_limits(tree: ast.AST) -> Iterator[int]:
    """Lines where the name of a limit is one side of a comparison, or a case"""
    for node in source.list_nodes(tree):
        if any(_is_limit_name(part) for part in _list_compared(node)):
            yield node.lineno  # type: ignore[attr-defined]


def _is_limit_name(node: ast.expr) -> bool:
    is_constant = isinstance(node, ast.Name | ast.Attribute) and _get_name(node).endswith("_LIMIT")
    return is_constant or (isinstance(node, ast.Constant) and node.value in LIMITS)


def list_parsed_sentences() -> Iterator[tuple[str, int, str]]:
    """Path, line and words, of all our source."""
    trees = source.load_trees()
    constants = {name for tree in trees.values() for name in list_sentence_constants(tree)}
    for path, tree in trees.items():
        yield from ((path, line, words) for line, words in find_parsed_sentences(tree, constants))


def find_parsed_sentences(tree: ast.AST, constants: set[str]) -> Iterator[tuple[int, str]]:
    """Line and words, wherever a sentence is searched for in a text or compared with one."""
    for node in source.list_nodes(tree):
        parts = _list_compared(node)
        if isinstance(node, ast.Call) and _get_name(node.func) in PARSING_METHODS:
            parts = _flatten(node.args[:1])
        for part in parts:
            words = _get_words(part)
            if is_sentence(words) or _get_name(part) in constants:
                yield node.lineno, words or _get_name(part)  # type: ignore[attr-defined]


def list_sentence_constants(tree: ast.Module) -> Iterator[str]:
    """Names of constants of the module that are a sentence."""
    for node in tree.body:
        if isinstance(node, ast.Assign) and is_sentence(_get_words(node.value)):
            yield from (_get_name(target) for target in node.targets)


def is_sentence(words: str) -> bool:
    """Words with a space among them, or that begin large and end with a full stop; also the end of a text, " …"."""
    has_letters = re.search(r"[a-z]", words) is not None
    return " …" in words or (has_letters and (" " in words or re.search(r"[A-Z].*\.$", words) is not None))


def _list_compared(node: ast.AST) -> list[ast.expr]:
    """Both sides of a comparison by value, or what a case matches."""
    if isinstance(node, ast.Compare) and all(
        isinstance(operator, ast.Eq | ast.NotEq | ast.In | ast.NotIn) for operator in node.ops
    ):
        return _flatten([node.left, *node.comparators])
    return [node.value] if isinstance(node, ast.MatchValue) else []


def _flatten(nodes: list[ast.expr]) -> list[ast.expr]:
    return [
        part
        for node in nodes
        for part in (node.elts if isinstance(node, ast.Tuple | ast.List | ast.Set) else [node])
    ]


def _get_words(node: ast.expr) -> str:
    if isinstance(node, ast.JoinedStr):
        return "".join(_get_words(part) if isinstance(part, ast.Constant) else "0" for part in node.values)
    return node.value if isinstance(node, ast.Constant) and isinstance(node.value, str) else ""


def _get_name(node: ast.expr) -> str:
    if isinstance(node, ast.Name):
        return node.id
    return node.attr if isinstance(node, ast.Attribute) else ""
