"""`bulkhead stripe-setup` and the part of `bulkhead doctor` that asks Stripe, against the stand-in."""

from collections.abc import Callable

import pytest

from shared.billing import provider_registry
from shared.billing.models import PLATFORM
from shared.cli import stripe_accounts
from shared.cli.doctor.stripe_checks import check_stripe
from shared.core.config import ConfigurationError
from shared.dev.stripe_sandbox import taxes
from tests.dev.stripe_sandbox.sandbox_server import run_sandbox

SetVariable = Callable[[str, str], None]
KEY = "sk_test_setup"


@pytest.fixture(autouse=True)
def own_account(environment: SetVariable, monkeypatch: pytest.MonkeyPatch) -> None:
    """Stripe, as the commands find it, instead of the provider of the other tests."""
    environment("STRIPE_SECRET_KEY", KEY)
    monkeypatch.delitem(provider_registry._providers, PLATFORM)


async def test_setup_saves_the_portal_settings_once_and_doctor_sees_them(environment: SetVariable) -> None:
    async with run_sandbox() as server:
        environment("STRIPE_API_BASE", server.url)
        (before,) = await check_stripe()
        assert (before.status, "bulkhead stripe-setup" in before.next_step) == ("warning", True)
        assert await stripe_accounts.set_up() == "The settings of Stripe's customer portal are saved."
        assert (
            await stripe_accounts.set_up() == "The settings of Stripe's customer portal were saved already."
        )
        (after,) = await check_stripe()
    assert after.status == "ok"


async def test_automatic_tax_without_an_origin_address_is_named_with_the_next_step(
    environment: SetVariable,
) -> None:
    environment("BULKHEAD_AUTOMATIC_TAX", "1")
    async with run_sandbox() as server:
        environment("STRIPE_API_BASE", server.url)
        account, results = server.sandbox.get_account(KEY), []
        for behavior in ("", "exclusive"):
            results.append((await check_stripe())[1])
            taxes.set_up(account, country="DE", behavior=behavior)
        results.append((await check_stripe())[1])
    assert [result.status for result in results] == ["failed", "warning", "ok"]
    assert "address of your business" in results[0].detail
    assert all(f"{server.url}/_control" in result.next_step for result in results[:2])


async def test_stripe_that_does_not_answer_is_named(environment: SetVariable) -> None:
    environment("STRIPE_API_BASE", "http://localhost:1")
    (result,) = await check_stripe()
    assert "doesn't answer" in result.detail
    assert KEY not in result.detail
    with pytest.raises(ConfigurationError):
        await stripe_accounts.set_up()
