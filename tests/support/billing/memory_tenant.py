"""One organisation without a database: the verbs and pages of billing over rows in dictionaries, thousands of times a minute.

The services are the product's own. What they read is given by the tenant of the moment, with a clock of its own; the
price list and the catalog are those of the database, read once. Locks, rights and the audit log are left out: other
tests are about them.
"""

import dataclasses
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import pytest

from shared.access import policy
from shared.audit import audit_log
from shared.billing import provider_registry, repository, trial_repository
from shared.billing.models import (
    PLATFORM,
    BillingAdjustment,
    BillingCustomer,
    BillingInvoice,
    BillingSnapshot,
    BillingSubscription,
    Price,
)
from shared.billing.pricing import comparison, price_sync, prices, prices_repository
from shared.billing.provider_values import CustomerState
from shared.billing.subscriptions import cancellation, changes, checkout, overview, pausing, subscriptions
from shared.billing.sync import access_schedule, apply_state, customer_sync, provider_records, refund_results
from shared.billing.sync.access_schedule import AccessSchedule, CatalogPrice
from shared.billing.sync.apply_state import SyncResult
from shared.core import db, rate_limits
from shared.core.context import Ctx
from shared.entitlements import assignments
from shared.entitlements.catalog import Catalog
from shared.entitlements.models import Plan, PlanVersion
from shared.tenancy import billing_contacts, entry, seats, tenants
from tests.conftest import Person
from tests.support.billing.memory_provider import MemoryProvider

# Each has the clock under its own name.
MODULES_WITH_A_CLOCK = (
    *(cancellation, changes, checkout, overview, pausing, subscriptions),
    *(prices, provider_records, refund_results),
)
PricedVersion = tuple[Price, PlanVersion, Plan]


@dataclass(frozen=True)
class Shelf:
    """What is sold, and who acts; the same for all tenants of a test."""

    ctx: Ctx
    catalog: Catalog
    priced_versions: Sequence[PricedVersion]
    catalog_prices: dict[str, CatalogPrice]
    in_currencies: dict[str, "Shelf"] = field(default_factory=dict)

    @classmethod
    async def read(cls, person: Person) -> "Shelf":
        async with person.ctx() as ctx:
            catalog = await assignments.get_catalog(ctx)
            priced_versions = await prices_repository.list_prices(ctx.session)
        shelf_ctx = dataclasses.replace(ctx, session=RowSink())  # type: ignore[arg-type]
        return cls(shelf_ctx, catalog, priced_versions, prices.map_catalog_prices(priced_versions))

    def sell_in(self, currency: str, tax_behavior: str) -> "Shelf":
        """The same and at the same numbers in another currency too."""
        if currency in self.in_currencies:
            return self.in_currencies[currency]
        priced_versions = [
            *self.priced_versions,
            *(
                (
                    Price(
                        **{
                            **price.model_dump(),
                            "id": f"{price.id}_{currency}",
                            "currency": currency,
                            "tax_behavior": tax_behavior,
                        }
                    ),
                    version,
                    plan,
                )
                for price, version, plan in self.priced_versions
            ),
        ]
        catalog_prices = prices.map_catalog_prices(priced_versions)
        shelf = dataclasses.replace(
            self, priced_versions=priced_versions, catalog_prices=catalog_prices, in_currencies={}
        )
        return self.in_currencies.setdefault(currency, shelf)

    def list_prices(self, version_ids: Iterable[str]) -> list[Price]:
        ids = set(version_ids)
        return [price for price, _, _ in self.priced_versions if price.plan_version_id in ids]

    async def push_all(self, provider: MemoryProvider) -> dict[str, str]:
        """Ids at the provider by our ids."""
        return {
            price.id: await provider.push_price(price_sync.to_price_tag(price, version, plan))
            for price, version, plan in self.priced_versions
        }


class RowSink:
    """Takes rows that services add, in the place of a session."""

    def add(self, row: object) -> None:
        if isinstance(row, BillingCustomer):
            present.tenant.customers.append(row)

    async def flush(self) -> None: ...


@dataclass
class MemoryTenant:
    shelf: Shelf
    provider: MemoryProvider
    external_ids: dict[str, str]  # of prices
    customers: list[BillingCustomer] = field(default_factory=list)
    subscriptions: dict[str, BillingSubscription] = field(default_factory=dict)
    invoices: dict[str, BillingInvoice] = field(default_factory=dict)
    adjustments: dict[str, BillingAdjustment] = field(default_factory=dict)
    snapshot: BillingSnapshot | None = None
    schedule: AccessSchedule | None = None
    used_seats: int = 1
    tickets: int = 0
    sync_count: int = 0
    comparison_count: int = 0  # of prices
    on_sync: Callable[[str], None] = lambda customer_id: None

    def now(self) -> datetime:
        return self.provider.clock

    def list_subscriptions(self) -> list[BillingSubscription]:
        return sorted(self.subscriptions.values(), key=lambda row: (row.created_at, row.id))

    async def apply(self, customer_id: str, state: CustomerState, ticket: int) -> SyncResult:
        """As `apply_state.apply_customer_state`, with the same functions of the product for rows and schedule."""
        self.sync_count += 1
        current_ids = {subscription.id for subscription in state.subscriptions}
        for subscription in state.subscriptions:
            self.subscriptions[subscription.id] = BillingSubscription(
                tenant_id=self.shelf.ctx.tenant_id,
                id=subscription.id,
                account_id=PLATFORM,
                customer_id=customer_id,
                status=subscription.status,
                state=provider_records._to_json(subscription),
                created_at=subscription.created_at,
                ticket=ticket,
            )
        for row in self.subscriptions.values():
            if row.customer_id == customer_id and row.id not in current_ids:
                row.absent_at = self.now()
        for invoice in state.invoices:
            self.invoices[invoice.id] = BillingInvoice(
                tenant_id=self.shelf.ctx.tenant_id,
                id=invoice.id,
                account_id=PLATFORM,
                customer_id=customer_id,
                ticket=ticket,
                **provider_records._invoice_values(invoice),
            )
        await refund_results.fail_adjustments(self.shelf.ctx, state.refunds)
        self.schedule = access_schedule.schedule_for(
            [provider_records.to_subscription(row) for row in self.list_subscriptions()],
            self.shelf.catalog_prices,
            self.now(),
        )
        if customer_id == self.customers[-1].id:
            self.snapshot = BillingSnapshot(
                tenant_id=self.shelf.ctx.tenant_id,
                schedule=self.schedule.as_json() if self.schedule else {},
                status=self.schedule.provider_status if self.schedule else "",
                method=state.method,
                balance=state.balance,
                currency=state.currency,
                upcoming=provider_records.upcoming_to_json(state.upcoming),
                deleted_customer_id=customer_id if state.deleted else "",
                ticket=ticket,
            )
        self.on_sync(customer_id)
        return SyncResult(True, False, ())

    async def sync(self) -> None:
        """What a webhook of the current customer leads to."""
        if self.customers:
            await customer_sync.sync_customer(
                PLATFORM, self.customers[-1].id, self.shelf.ctx.tenant_id, cause="webhook"
            )

    async def get_overview(self, currency: str = "") -> overview.BillingOverview:
        return await overview.get_overview(self.shelf.ctx, currency)


@dataclass
class Present:
    """The tenant whose turn it is."""

    tenant: MemoryTenant


present: Present = Present.__new__(Present)


def enter(tenant: MemoryTenant) -> None:
    """From now on services act on this tenant."""
    present.tenant = tenant
    provider_registry.register(PLATFORM, tenant.provider)


def install(patch: pytest.MonkeyPatch) -> None:
    """Lets services read the tenant of `enter`, until the patches are undone."""

    async def do_nothing(*_: Any, **__: Any) -> None: ...

    async def get_empty_text(*_: Any, **__: Any) -> str:
        return ""

    @asynccontextmanager
    async def enter_billing_sync(*_: Any, **__: Any) -> AsyncIterator[Ctx]:
        yield present.tenant.shelf.ctx

    @asynccontextmanager
    async def transaction(*_: Any, **__: Any) -> AsyncIterator[RowSink]:
        yield RowSink()

    for module in MODULES_WITH_A_CLOCK:
        patch.setattr(module, "now", lambda: present.tenant.now())
    patch.setattr(policy, "require", lambda *_, **__: None)
    patch.setattr(pausing, "is_offered", lambda: True)
    patch.setattr(audit_log, "record", lambda *_, **__: None)
    patch.setattr(rate_limits, "enforce_rate_limit", do_nothing)
    patch.setattr(tenants, "lock", do_nothing)
    patch.setattr(tenants, "require_not_ending", do_nothing)
    patch.setattr(db, "transaction", transaction)
    patch.setattr(entry, "enter_billing_sync", enter_billing_sync)
    patch.setattr(billing_contacts, "get_owner_email", get_empty_text)
    _install_records(patch)
    _install_prices(patch)
    _install_trials(patch)


def _install_records(patch: pytest.MonkeyPatch) -> None:
    async def get_customer(*_: Any) -> BillingCustomer | None:
        return present.tenant.customers[-1] if present.tenant.customers else None

    async def get_billing_snapshot(_: Ctx) -> BillingSnapshot | None:
        return present.tenant.snapshot

    async def list_subscriptions(_: Ctx) -> list[BillingSubscription]:
        return present.tenant.list_subscriptions()

    async def list_unpaid_invoices(_: Ctx) -> list[BillingInvoice]:
        return [row for row in present.tenant.invoices.values() if row.status in ("draft", "open")]

    async def lock_adjustment(_: Ctx, adjustment_id: str) -> BillingAdjustment | None:
        return present.tenant.adjustments.get(adjustment_id)

    async def take_ticket(_: object) -> int:
        present.tenant.tickets += 1
        return present.tenant.tickets

    async def apply_customer_state(
        ctx: Ctx, account_id: str, customer_id: str, state: CustomerState, ticket: int, **_: Any
    ) -> SyncResult:
        return await present.tenant.apply(customer_id, state, ticket)

    async def count_seats(_: Ctx) -> int:
        return present.tenant.used_seats

    for function in (
        get_customer,
        get_billing_snapshot,
        list_subscriptions,
        list_unpaid_invoices,
        lock_adjustment,
    ):
        patch.setattr(repository, function.__name__, function)
    patch.setattr(customer_sync.inbound_webhook_repository, "take_ticket", take_ticket)
    patch.setattr(apply_state, "apply_customer_state", apply_customer_state)
    patch.setattr(seats, "count", count_seats)


def _install_prices(patch: pytest.MonkeyPatch) -> None:
    async def list_prices(_: object) -> Sequence[PricedVersion]:
        return present.tenant.shelf.priced_versions

    async def list_version_prices(_: object, version_ids: Iterable[str]) -> list[Price]:
        return present.tenant.shelf.list_prices(version_ids)

    async def list_external_ids(_: object, account_id: str, price_ids: Iterable[str]) -> dict[str, str]:
        return {price_id: present.tenant.external_ids[price_id] for price_id in price_ids}

    async def get_catalog(_: Ctx) -> Catalog:
        return present.tenant.shelf.catalog

    async def request_comparison(_: object) -> None:
        present.tenant.comparison_count += 1

    async def get_snapshot(_: Ctx) -> tuple[None, Catalog]:
        return None, present.tenant.shelf.catalog

    patch.setattr(comparison, "request_comparison", request_comparison)
    for function in (list_prices, list_version_prices, list_external_ids):
        patch.setattr(prices_repository, function.__name__, function)
    for catalog_function in (get_catalog, get_snapshot):
        patch.setattr(assignments, catalog_function.__name__, catalog_function)


def _install_trials(patch: pytest.MonkeyPatch) -> None:
    """Nobody has had one anywhere else."""

    async def find_nothing(*_: Any, **__: Any) -> None: ...

    async def refuse_nothing(*_: Any, **__: Any) -> str:
        return ""

    async def list_owner_ids(_: Ctx) -> list[str]:
        return ["usr_owner"]

    patch.setattr(trial_repository, "find_open_grant", find_nothing)
    patch.setattr(trial_repository, "find_refusal", refuse_nothing)
    patch.setattr(trial_repository, "claim", refuse_nothing)
    patch.setattr(billing_contacts, "list_owner_ids", list_owner_ids)
