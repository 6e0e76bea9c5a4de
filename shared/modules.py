"""The modules of the platform. Imported only by entry points: command line, Reflex configuration and tests."""

import importlib

from shared.core import registry

NAMES = (  # alphabetical; each has a manifest in `shared/<name>/module.py`
    "access",
    "api_keys",
    "audit",
    "backoffice",
    "billing",
    "entitlements",
    "evidence",
    "fairness",
    "files",
    "identity",
    "jobs",
    "metering",
    "monitoring",
    "offboarding",
    "outbound_webhooks",
    "tenancy",
    "test_mode",
)


def load() -> None:
    """Fills the registry; a second call changes nothing."""
    registry.fill([importlib.import_module(f"shared.{name}.module").MODULE for name in NAMES])
