"""One server for all, an account of its own for every test; nothing that it answers may break the contract."""

from collections.abc import Iterator
from itertools import count

import pytest
import stripe

from shared.dev.stripe_sandbox.store import Account
from tests.dev.stripe_sandbox.suite.stand import REAL_KEY, SdkMerchant, ThreadedSandbox

numbers = count()


@pytest.fixture(scope="session")
def optional_server() -> Iterator[ThreadedSandbox | None]:
    if REAL_KEY:
        yield None
        return
    sandbox_server = ThreadedSandbox()
    yield sandbox_server
    sandbox_server.stop()


@pytest.fixture
def sandbox_server(optional_server: ThreadedSandbox | None) -> ThreadedSandbox:
    if optional_server is None:
        pytest.skip("needs a hand inside the stand-in")
    return optional_server


@pytest.fixture
def key() -> str:
    return REAL_KEY or f"sk_test_suite_{next(numbers)}"


@pytest.fixture
def merchant(optional_server: ThreadedSandbox | None, key: str) -> Iterator[SdkMerchant]:
    if optional_server is None:
        yield SdkMerchant(stripe.StripeClient(key, max_network_retries=2))
        return
    yield SdkMerchant(optional_server.build_client(key))
    problems, optional_server.checker.problems = optional_server.checker.problems, []
    assert problems == []


@pytest.fixture
def account(sandbox_server: ThreadedSandbox, key: str) -> Account:
    return sandbox_server.sandbox.get_account(key)
