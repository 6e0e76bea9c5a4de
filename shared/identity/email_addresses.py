"""Validate and normalise email addresses. They are stored and compared in lower case."""

import re

from shared.core.errors import Invalid

MAX_LENGTH = 254  # RFC 5321
_LABEL = "[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?"
_ADDRESS_PATTERN = re.compile(rf"[a-z0-9.!#$%&'*+/=?^_`{{|}}~-]{{1,64}}@{_LABEL}(?:\.{_LABEL})+")


def parse_address(text: str) -> str:
    """The normalised address. Raises Invalid with `fields["email"]`."""
    email = text.strip().lower()
    problem = ""
    if not email:
        problem = "Enter an email address."
    elif len(email) > MAX_LENGTH:
        problem = f"Email addresses can have at most {MAX_LENGTH} characters; this one has {len(email):,}."
    elif not _ADDRESS_PATTERN.fullmatch(email):
        problem = "Enter a valid email address, such as ann@example.com."
    if problem:
        raise Invalid(problem, "Check the address and try again.", fields={"email": problem})
    return email


def normalise_for_lookup(text: str) -> str:
    """Normalise for a look-up. Never raises, so an invalid address gets the response of an unknown one."""
    plain = text.encode("utf-8", "replace").decode()  # no stored address contains half a surrogate pair
    return plain.strip().lower()[: MAX_LENGTH + 1].replace("\x00", "")
