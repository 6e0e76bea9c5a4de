"""Validate names and slugs of organisations."""

import re
import secrets
import unicodedata

from shared.core.displayed_text import clean_line
from shared.core.errors import Invalid
from shared.core.ids import ALPHABET
from shared.identity import users

MAX_NAME_LENGTH, MAX_SLUG_LENGTH = 80, 40
TEST_SLUG_ENDING = "-test"  # of test tenants
_SLUG_PATTERN = re.compile(r"[a-z0-9](?:[a-z0-9-]{1,38})[a-z0-9]")
_TRANSLITERATIONS = str.maketrans(
    {"ß": "ss", "æ": "ae", "ø": "o", "å": "a", "ł": "l", "đ": "d", "þ": "th", "ð": "d", "&": " and "}
)
RESERVED_SLUGS = frozenset(
    """about abuse account accounts admin api app assets auth billing blog bulkhead careers cdn contact dashboard demo
    dev docs download email faq files forgot graphql healthz help home internal invitations invite legal login logout
    mail metrics mfa new null oauth onboarding operator operators organisations owner postmaster pricing privacy
    public readyz register reset root sales security settings sign-in sign-out sign-up signin signup sso staging static
    status stripe support system team tenant terms test undefined user users verify webhook webhooks www""".split()
)


def clean_name(text: str) -> str:
    """The normalised name, in any script. Raises Invalid with `fields["organisation"]` and `fields["name"]`."""
    fields = ("organisation", "name")
    name = clean_line(
        text,
        noun="name",
        missing="Enter the name of your organisation.",
        max_length=MAX_NAME_LENGTH,
        fields=fields,
    )
    if users.looks_like_link(name):
        problem = users.LINK_PROBLEM
        raise Invalid(problem, "Correct it and try again.", fields=dict.fromkeys(fields, problem))
    return name


def clean_slug(text: str) -> str:
    """The normalised slug. Raises Invalid with `fields["slug"]` for an invalid or reserved one."""
    slug = text.strip().lower()
    problem = ""
    if not _SLUG_PATTERN.fullmatch(slug) or "--" in slug:
        problem = f"Use 3 to {MAX_SLUG_LENGTH} lower-case letters, digits or single hyphens. Start and end with a letter or digit."
    elif slug in RESERVED_SLUGS:
        problem = f"“{slug}” is reserved. Choose another address."
    elif slug.endswith(TEST_SLUG_ENDING):
        problem = f"Addresses that end with “{TEST_SLUG_ENDING}” are reserved for test mode."
    if problem:
        raise Invalid(problem, "Choose another address.", fields={"slug": problem})
    return slug


def suggest_slug(name: str, attempt: int = 0) -> str:
    """A slug from a name in any script. Adds random characters when it is reserved, too short or a repeated attempt."""
    plain = unicodedata.normalize("NFKD", name.lower().translate(_TRANSLITERATIONS))
    hyphenated = re.sub(
        r"[^a-z0-9]+", "-", "".join(character for character in plain if not unicodedata.combining(character))
    )
    base = hyphenated.strip("-")[: MAX_SLUG_LENGTH - 6].strip("-")
    if len(base) < 3 or base in RESERVED_SLUGS or base.endswith(TEST_SLUG_ENDING):
        base = f"{base}-team".strip("-")
        attempt += 1
    suffix = "".join(secrets.choice(ALPHABET) for _ in range(4))
    return f"{base}-{suffix}" if attempt else base
