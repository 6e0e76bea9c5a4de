"""The stand-in has a store of its own: no database is built for its tests."""

import pytest


@pytest.fixture(scope="session", autouse=True)
def schema() -> None:
    """None."""


@pytest.fixture(autouse=True)
def fresh_limits() -> None:
    """None of ours are met here."""
