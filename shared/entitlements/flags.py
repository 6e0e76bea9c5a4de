"""The flags that the code uses, alphabetical. Each is temporary, with an owner and a removal date.

`tests/entitlements/test_flags.py` fails once a date has passed. The database holds who is exposed; a flag named here
and missing there is off. Operators may prepare others in advance.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date


@dataclass(frozen=True, slots=True)
class Flag:
    key: str
    title: str
    sentence: str
    owner: str
    cleanup_by: date
    required_feature: str = ""  # always off for tenants without this feature


_ALL = (
    Flag(
        "role_editor",
        "Role editor",
        "Creating and changing custom roles.",
        "Access team",
        date(2027, 3, 31),
        "custom_roles",
    ),
)
FLAGS = {flag.key: flag for flag in _ALL}


def list_expired(today: date, flags: Iterable[Flag] = _ALL) -> list[Flag]:
    """Flags whose removal date has passed."""
    return [flag for flag in flags if flag.cleanup_by < today]
