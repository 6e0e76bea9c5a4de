"""Counts and lists in English: "1 event", "1,200 events", "Pro, Business and Enterprise"."""

from collections.abc import Sequence


def plural(count: int, singular: str, plural_form: str = "") -> str:
    """`plural_form` is needed only where it is not the singular and an "s", as in "people"."""
    return f"{count:,} {singular if count == 1 else plural_form or f'{singular}s'}"


def join_names(names: Sequence[str]) -> str:
    """As in "Pro, Business and Enterprise"."""
    return " and ".join(part for part in (", ".join(names[:-1]), *names[-1:]) if part)
