"""The tenant app in a process of its own, for tests that need real sockets."""

from collections.abc import Iterator

import pytest

from tests.attack import apps


@pytest.fixture(scope="session")
def tenant_app() -> Iterator[apps.Loaded]:
    """Loaded once, for `apps.serving` to fork: loading takes seconds of the processor."""
    with apps.loaded_app("tenant") as loaded:
        yield loaded
