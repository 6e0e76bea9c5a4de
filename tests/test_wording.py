"""Translated or private English stays out of every text and docstring of the product."""

import ast
import re
from collections.abc import Callable, Iterable, Iterator

import pytest

from tests.support import source

# Name, what it looks like, and what to write instead. Matched without regard to case, over line breaks.
PATTERNS = {
    "stands": (
        r"\b(?:stands?|stood) (?:here|there|in|on|under|next)\b|\bwould stand\b",
        '"is listed", "is recorded in", "is"',
    ),
    "counts from": (r"\bcounts (?:from|at once|for (?:each|one))\b", '"takes effect immediately"'),
    "who has it": (r"\bwho has (?:it|which)\b", '"tenants with this plan", "assigned to"'),
    "what remains": (r"\bwhat remains\b", '"the free plan"'),
    "by the clock": (r"\bby the clock\b", '"on schedule", "scheduled"'),
    "look at": (r"\blook(?:s|ed|ing)? (?:at|into|inside)\b", '"view", "review", "open"'),
    "somebody": (
        r"\b(?:any|every|no|some)body\b",
        '"a member", "everyone", "no one", or the passive voice',
    ),
    "by itself": (r"\bby (?:it|them)sel(?:f|ves)\b", '"automatically"'),
    "a moment ago": (r"\ba moment ago\b", '"just"'),
    "taken back": (r"\b(?:take[ns]?|took|taking)(?: \w+)? back\b", '"undone", "revoked", "resumed"'),
    "may not": (r"\bmay not\b", '"can\'t", "doesn\'t have permission to"'),
    "made good": (r"\bma[dk]e good\b", '"reversed", "repaired"'),
    "asked for": (
        r"\b(?:is|are|was|were|be|been|being) asked for\b",
        '"is requested", "needs", "is required"',
    ),
    "comma before also": (r", also\b", '"including …", or a sentence of its own'),
    "trail": (r"\btrails?\b", '"audit log"'),
    "you may": (r"\byou may\b", '"you can"'),
    "is no …": (r"\b(?:this|it|that) is no\b(?! longer)", '"isn\'t a …"'),
    "lies ahead": (r"\blies? ahead\b|\bforeseen\b", '"in the future", "scheduled"'),
    "says so": (r"\bsays so\b", '"is recorded in the audit log"'),
    "word": (r"\bown word\b", '"override"'),
    "anew": (r"\banew\b", '"again"'),
    "write to support": (r"\b(?:write|talk) to (?:support|us)\b", '"contact support", "contact sales"'),
}

# A text with a pattern that has to keep it: stored words and fixed protocols, each with the reason.
ALLOWED = {
    "nobody": "the operating system's user of that name, and the id under which no credential is stored",
}
TEMPLATE_FOLDERS = ("jobs/templates", "web/templates", "dev/stripe_sandbox/pages")
# The apostrophe of a typewriter, where people read ’ on pages and in mails. Not all terminals show that one.
TYPED_APOSTROPHE = re.compile(r"(?<=\w)'(?=(?:s|t|re|ll|ve|d|m)\b)|^'s\b|(?<=[a-z]s)'(?= \w)")
OF_TERMINALS = ("shared/cli/", "shared/core/config.py", "shared/core/database_logins.py", "shared/dev/")
IN_CODE = re.compile(r"\bselect\b|\bwhere\b|\bupdate\b|\bclass Bulkhead\b|\bclass ApiError\b|\{\{")


def list_texts(tree: ast.AST) -> Iterator[tuple[int, str]]:
    """Line and text of every string literal that isn't a docstring, with each constant part of f-strings."""
    docstring_ids = {id(node) for node in _docstring_nodes(tree)}
    for node in source.list_nodes(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in docstring_ids:
            yield node.lineno, " ".join(node.value.split())


def list_docstrings(tree: ast.AST) -> Iterator[tuple[int, str]]:
    """Line and text of every docstring: of modules, classes, functions and fields."""
    for node in _docstring_nodes(tree):
        if isinstance(node.value, str):
            yield node.lineno, " ".join(node.value.split())


def find_odd_wording(path: str, texts: Iterable[tuple[int, str]]) -> list[str]:
    """One line for each text that matches a pattern: where, which pattern, the words, and the alternative."""
    return [
        f'{path}:{line}: "{name}" in "{text[max(0, match.start() - 30) : match.end() + 30]}"; write {alternative}'
        for line, text in texts
        if text not in ALLOWED
        for name, (pattern, alternative) in PATTERNS.items()
        for match in re.finditer(pattern, text, re.IGNORECASE)
    ]


def find_typed_apostrophes(path: str, texts: Iterable[tuple[int, str]]) -> list[str]:
    """One line for each text for people with the apostrophe of a typewriter."""
    return [
        f"{path}:{line}: {text!r}; write ’"
        for line, text in texts
        if TYPED_APOSTROPHE.search(text) and not IN_CODE.search(text)
    ]


def test_texts_for_people_have_typographic_apostrophes() -> None:
    findings = [
        finding
        for path, tree in source.load_trees().items()
        if not path.startswith(OF_TERMINALS)
        for finding in find_typed_apostrophes(path, list_texts(tree))
    ]
    assert not findings, "\n".join(findings)


@pytest.mark.parametrize(
    "text",
    [
        "You can't undo this.",
        "'s role",
        "The operators' audit log",
        "We'll email you.",
        "It's off for everyone.",
    ],
)
def test_typed_apostrophe_is_found(text: str) -> None:
    assert find_typed_apostrophes("a_page.py", [(1, text)])
    assert not find_typed_apostrophes("a_page.py", [(1, text.replace("'", "’"))])


@pytest.mark.parametrize(
    "text", ["state = 'published'", "interval '1 day'", "select name from plan where key = 'pro's'"]
)
def test_apostrophe_of_code_is_left(text: str) -> None:
    assert not find_typed_apostrophes("a_repository.py", [(1, text)])


@pytest.mark.parametrize("listing", [list_texts, list_docstrings], ids=["texts", "docstrings"])
def test_product_is_worded_plainly(listing: Callable[[ast.AST], Iterator[tuple[int, str]]]) -> None:
    findings = [
        finding
        for path, tree in source.load_trees().items()
        for finding in find_odd_wording(path, listing(tree))
    ]
    assert not findings, "\n".join(findings)


def test_mails_and_pages_are_worded_plainly() -> None:
    files = [
        file
        for folder in TEMPLATE_FOLDERS
        for file in sorted((source.ROOT / "shared" / folder).glob("*.[ht]*"))
    ]
    findings = [
        finding
        for file in files
        for find in (find_odd_wording, find_typed_apostrophes)
        for finding in find(
            str(file.relative_to(source.ROOT)), enumerate(file.read_text().splitlines(), start=1)
        )
    ]
    assert not findings, "\n".join(findings)


def test_every_allowed_text_is_still_used_and_odd() -> None:
    texts = {text for tree in source.load_trees().values() for _, text in list_texts(tree)}
    needless = [text for text in ALLOWED if text not in texts or not _matches(text)]
    assert needless == []


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("stands", "Each refusal stands here within seconds."),
        ("stands", "Attempts that honest use never makes would stand here."),
        ("counts from", "It counts from their next click."),
        ("counts from", "Counts at once."),
        ("who has it", "Who has it"),
        ("what remains", "After that what remains is Free"),
        ("by the clock", "What follows by the clock"),
        ("look at", "Looks into one tenant at a time."),
        ("somebody", "Invite somebody, and it will be here."),
        ("by itself", "This page follows by itself."),
        ("a moment ago", "Your password was changed a moment ago."),
        ("taken back", "The cancellation was taken back."),
        ("may not", "You may not see billing."),
        ("made good", "It can only be made good by another one."),
        ("asked for", "Credit of $20.00 is asked for."),
        ("comma before also", "Full access, also to billing."),
        ("trail", "It stands in the audit trail."),
        ("you may", "Choose what you may do."),
        ("is no …", "This is no date."),
        ("lies ahead", "The date lies ahead."),
        ("says so", "Its audit log says so."),
        ("word", "This tenant’s own word on a flag"),
        ("anew", "Access written anew"),
        ("write to support", "Write to support."),
    ],
)
def test_pattern_matches_its_example(name: str, text: str) -> None:
    assert name in _matches(text)


def test_plain_wording_matches_no_pattern() -> None:
    texts = (
        "Updates automatically.",
        "You don’t have permission to view billing.",
        "Recorded in the audit log.",
        "stand-ins",
        "This is no longer offered.",
    )
    assert [text for text in texts if _matches(text)] == []


def _matches(text: str) -> list[str]:
    return [name for name, (pattern, _) in PATTERNS.items() if re.search(pattern, text, re.IGNORECASE)]


def _docstring_nodes(tree: ast.AST) -> Iterator[ast.Constant]:
    for node in source.list_nodes(tree):
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
            yield node.value
