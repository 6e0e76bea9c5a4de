"""The flags that code asks for, alphabetical. Each is temporary: whom to ask, and by when it has to be gone.

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
    required_feature: str = ""  # off, whatever its rules say, for a tenant that is not entitled to this


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
    """Those that should have left the code by now."""
    return [flag for flag in flags if flag.cleanup_by < today]
