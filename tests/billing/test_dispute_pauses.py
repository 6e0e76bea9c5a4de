"""Collection is paused while a payment is disputed, and access stays."""

from dataclasses import dataclass, field, replace

import pytest

from shared.billing import customers, dispute_pauses, provider_registry
from shared.billing.models import PLATFORM, BillingDispute, BillingSnapshot
from shared.billing.provider import ProviderRefused
from shared.billing.provider_values import CustomerState, Dispute, Subscription
from shared.billing.sync import customer_sync
from shared.core import db
from shared.core.config import settings
from shared.core.db import now
from tests.conftest import Cast
from tests.support import workers
from tests.support.billing import scripted_provider

ACTIVE = Subscription("sub_1", "active", now(), pays=True, currency="usd")
MARKED = replace(ACTIVE, paused_collection="keep_as_draft", dispute_mark="du_1")


@dataclass
class PausingProvider(scripted_provider.FakeProvider):
    """Shows the pauses that it was told to make."""

    calls: list[tuple[str, str]] = field(default_factory=list)
    problem: Exception | None = None

    async def pause_collection(self, subscription_id: str, dispute_id: str, key: str) -> None:
        self.calls.append((subscription_id, dispute_id))
        if self.problem is not None:
            raise self.problem
        self._change(paused_collection="keep_as_draft", dispute_mark=dispute_id)

    async def resume_collection(self, subscription_id: str, key: str) -> None:
        self.calls.append((subscription_id, ""))
        self._change(paused_collection="", dispute_mark="")

    def _change(self, **values: str) -> None:
        ((customer_id, state),) = self.state.items()
        (subscription,) = state.subscriptions
        changed = replace(subscription, **values)  # type: ignore[arg-type]
        self.state[customer_id] = replace(state, subscriptions=(changed,))


@pytest.fixture
async def provider(cast: Cast, schema: str) -> PausingProvider:
    workers.clear_queue(schema)
    provider = PausingProvider()
    provider_registry.register(PLATFORM, provider)
    customer_id = await customers.ensure(cast.acme)
    workers.clear_queue(schema)
    provider.state[customer_id] = CustomerState(customer_id, subscriptions=(ACTIVE,))
    return provider


async def sync(cast: Cast, provider: PausingProvider, *dispute_statuses: str) -> None:
    ((customer_id, state),) = provider.state.items()
    disputes = tuple(build_dispute(f"du_{n}", status) for n, status in enumerate(dispute_statuses, 1))
    provider.state[customer_id] = replace(state, disputes=disputes)
    await customer_sync.sync_customer(PLATFORM, customer_id, cast.acme, cause="webhook")
    await workers.run_due_jobs()


def build_dispute(dispute_id: str, status: str) -> Dispute:
    return Dispute(
        id=dispute_id, invoice_id="in_1", amount=2_900, currency="usd", reason="fraudulent",
        status=status, is_refundable=False, respond_by=None, created_at=now(),
    )  # fmt: skip


async def get_snapshot(cast: Cast) -> BillingSnapshot:
    async with db.transaction(tenant_id=cast.acme) as session:
        snapshot = await session.get(BillingSnapshot, (cast.acme, "standing"))
        assert snapshot is not None
        return snapshot


async def test_disputes_pause_collection_until_the_last_one_has_ended(
    cast: Cast, provider: PausingProvider
) -> None:
    await sync(cast, provider, "needs_response")
    assert provider.calls == [("sub_1", "du_1")]
    snapshot = await get_snapshot(cast)
    assert (snapshot.status, snapshot.schedule["status"]) == ("active", "active")
    assert "Collection of sub_1 is paused while du_1 is open" in snapshot.alert
    await sync(cast, provider, "won", "under_review")
    assert len(provider.calls) == 1
    await sync(cast, provider, "won", "lost")
    assert provider.calls[1:] == [("sub_1", "")]
    assert "paused" not in (await get_snapshot(cast)).alert


async def test_pause_that_the_provider_does_not_show_is_not_repeated_at_once(
    cast: Cast, provider: PausingProvider, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(provider, "_change", lambda **_: None)
    await sync(cast, provider, "needs_response")
    await workers.run_due_jobs()
    assert len(provider.calls) == 1


async def test_refused_pause_is_asked_for_by_the_next_sync_only(
    cast: Cast, provider: PausingProvider
) -> None:
    provider.problem = ProviderRefused("no")
    for count in (1, 2):
        await sync(cast, provider, "needs_response")
        assert len(provider.calls) == count


@pytest.mark.parametrize(
    ("subscription", "status", "is_on", "planned"),
    [
        (ACTIVE, "needs_response", True, "du_1"),
        (ACTIVE, "needs_response", False, None),
        (ACTIVE, "warning_needs_response", True, None),
        (replace(ACTIVE, status="canceled"), "needs_response", True, None),
        (replace(ACTIVE, paused_collection="void"), "needs_response", True, None),
        (replace(MARKED, paused_collection=""), "needs_response", True, None),
        (replace(ACTIVE, paused_collection="keep_as_draft"), "won", True, None),
        (MARKED, "needs_response", True, None),
        (MARKED, "needs_response", False, ""),
        (MARKED, "lost", True, ""),
        (replace(MARKED, paused_collection=""), "won", True, ""),
    ],
    ids=[
        *("disputed", "turned off", "an inquiry", "ended", "paused by others", "resumed by others"),
        *(
            "paused by others, won",
            "paused already",
            "turned off meanwhile",
            "over",
            "mark of a former pause",
        ),
    ],
)
def test_collection_is_changed_only_where_we_paused_it(
    monkeypatch: pytest.MonkeyPatch,
    subscription: Subscription,
    status: str,
    *,
    is_on: bool,
    planned: str | None,
) -> None:
    changed = settings().model_copy(update={"disputes_pause_collection": is_on})
    monkeypatch.setattr(dispute_pauses, "settings", lambda: changed)
    dispute = BillingDispute(
        tenant_id="ten_1", id="du_1", account_id=PLATFORM, customer_id="cus_1", amount=1,
        currency="usd", status=status, created_at=now(), ticket=1,
    )  # fmt: skip
    changes = dispute_pauses.plan_changes([subscription], [dispute])
    assert [change.dispute_id for change in changes] == ([] if planned is None else [planned])
