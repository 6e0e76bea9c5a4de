"""Counts in English: "1 event", "1,200 events"."""


def plural(count: int, singular: str, plural_form: str = "") -> str:
    """`plural_form` is needed only where it is not the singular and an "s", as in "people"."""
    return f"{count:,} {singular if count == 1 else plural_form or f'{singular}s'}"
