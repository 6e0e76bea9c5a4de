"""Addresses of people, as they are stored and compared: lower case, one form per mailbox we can know of."""

import re

from shared.core.errors import Invalid

MAX_LENGTH = 254  # RFC 5321
_LABEL = "[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?"
_ADDRESS_PATTERN = re.compile(rf"[a-z0-9.!#$%&'*+/=?^_`{{|}}~-]{{1,64}}@{_LABEL}(?:\.{_LABEL})+")


def parse_address(text: str) -> str:
    """Raises Invalid, with `fields["email"]`."""
    email = text.strip().lower()
    problem = ""
    if not email:
        problem = "Enter an email address."
    elif len(email) > MAX_LENGTH:
        problem = f"An email address has at most {MAX_LENGTH} characters; this one has {len(email):,}."
    elif not _ADDRESS_PATTERN.fullmatch(email):
        problem = "This does not look like an email address. It should look like ann@example.com."
    if problem:
        raise Invalid(problem, "Check the address and try again.", fields={"email": problem})
    return email


def normalise_for_lookup(text: str) -> str:
    """For looking somebody up: never refuses, so a wrong address gets the answer of an unknown one."""
    plain = text.encode("utf-8", "replace").decode()  # half a surrogate pair is nobody's either
    return plain.strip().lower()[: MAX_LENGTH + 1].replace("\x00", "")
