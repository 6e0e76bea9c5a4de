"""Validate and normalise email addresses. They are stored and compared in lower case.

`parse_address` is the only check: whatever it accepts is the envelope recipient, character by character. It accepts the
dot-string subset of RFC 5321 4.1.2. Quoted local parts, address literals and encoded words (RFC 2047) are refused.
"""

import re

from shared.core.errors import Invalid

MAX_LENGTH, MAX_LOCAL_LENGTH = 254, 64  # RFC 5321 4.5.3.1
_ATOM = r"[a-z0-9!#$%&'*+/=?^_`{|}~-]+"  # RFC 5322 3.2.3, in lower case
_LABEL = "[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?"
_ADDRESS_PATTERN = re.compile(rf"(?P<local>{_ATOM}(?:\.{_ATOM})*)@(?P<domain>{_LABEL}(?:\.{_LABEL})+)")
ENCODED_WORD_START = "=?"  # a mail program may decode what follows, so another mailbox would get the mail


def parse_address(text: str) -> str:
    """The normalised address. Raises Invalid with `fields["email"]`."""
    email = text.strip().lower()
    problem = ""
    if not email:
        problem = "Enter an email address."
    elif len(email) > MAX_LENGTH:
        problem = f"Email addresses can have at most {MAX_LENGTH} characters; this one has {len(email):,}."
    elif not _is_mailbox(email):
        problem = "Enter a valid email address, such as ann@example.com."
    if problem:
        raise Invalid(problem, "Check the address and try again.", fields={"email": problem})
    return email


def _is_mailbox(email: str) -> bool:
    match = _ADDRESS_PATTERN.fullmatch(email)
    return match is not None and len(match["local"]) <= MAX_LOCAL_LENGTH and ENCODED_WORD_START not in email


def normalise_for_lookup(text: str) -> str:
    """Normalise for a look-up. Never raises, so an invalid address gets the response of an unknown one."""
    plain = text.encode("utf-8", "replace").decode()  # no stored address contains half a surrogate pair
    return plain.strip().lower()[: MAX_LENGTH + 1].replace("\x00", "")
