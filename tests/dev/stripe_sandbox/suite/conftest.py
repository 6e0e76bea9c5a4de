"""One server for all, an account of its own for every test; nothing that it answers may break the contract."""

from collections.abc import Iterator
from itertools import count

import pytest
import stripe

from shared.dev.stripe_sandbox.store import Account
from tests.dev.stripe_sandbox.suite.stand import REAL_KEY, Shop, Stand

numbers = count()


@pytest.fixture(scope="session")
def _stand() -> Iterator[Stand | None]:
    if REAL_KEY:
        yield None
        return
    stand = Stand()
    yield stand
    stand.stop()


@pytest.fixture
def stand(_stand: Stand | None) -> Stand:
    if _stand is None:
        pytest.skip("needs a hand inside the stand-in")
    return _stand


@pytest.fixture
def key() -> str:
    return REAL_KEY or f"sk_test_suite_{next(numbers)}"


@pytest.fixture
def shop(_stand: Stand | None, key: str) -> Iterator[Shop]:
    if _stand is None:
        yield Shop(stripe.StripeClient(key, max_network_retries=2))
        return
    yield Shop(_stand.client(key))
    wrong, _stand.judge.wrong = _stand.judge.wrong, []
    assert wrong == []


@pytest.fixture
def account(stand: Stand, key: str) -> Account:
    return stand.sandbox.account(key)
