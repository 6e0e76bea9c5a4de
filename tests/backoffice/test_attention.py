"""Figures of the overview that call for a look: each is the number of tenants in the list that it links to."""

from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest

from admin_app.pages.overview.attention import attention_rows
from admin_app.pages.tenants import TenantsState
from shared.backoffice import tenant_directory
from shared.backoffice.attention_kinds import Attention
from shared.billing.models import PLATFORM, BillingCustomer, BillingSnapshot, BillingSubscription
from shared.core import db
from shared.core.db import now
from shared.core.errors import Invalid
from shared.core.traffic import LATENCY_LIMITS_MS, Dimension
from shared.metering.models import UsageCounter
from tests.conftest import Cast
from tests.support import database

TRIAL = {"trial_ends_at": (now() + timedelta(days=3)).isoformat()}


async def need(tenant_id: str, attention: Attention) -> None:
    """Make the tenant need this attention."""
    if attention is Attention.STUCK_SETUP:
        database.connect().execute(
            "update provisioning_step set state = 'failed' where tenant_id = %(tenant)s and position ="
            " (select max(position) from provisioning_step where tenant_id = %(tenant)s)",
            {"tenant": tenant_id},
        )
        return
    customer_id = f"cus_{tenant_id}"
    rows: dict[Attention, list[Any]] = {
        Attention.TRIAL_ENDING: [
            BillingCustomer(tenant_id=tenant_id, id=customer_id),
            BillingSubscription(
                tenant_id=tenant_id,
                id=f"sub_{tenant_id}",
                account_id=PLATFORM,
                customer_id=customer_id,
                status="trialing",
                state=TRIAL,
                created_at=now(),
                ticket=1,
            ),
        ],
        Attention.PAST_DUE: [BillingSnapshot(tenant_id=tenant_id, schedule={}, status="past_due", ticket=1)],
        Attention.LIMIT_NEAR: [
            UsageCounter(
                tenant_id=tenant_id,
                id="api_calls:test",
                meter="api_calls",
                starts_at=now() - timedelta(days=1),
                ends_at=now() + timedelta(days=1),
                warned_percent=80,
                warned_amount=Decimal(100),
            )
        ],
    }
    async with db.transaction(tenant_id=tenant_id) as session:
        for row in rows[attention]:
            session.add(row)
            await session.flush()


async def list_needing(cast: Cast, attention: Attention) -> list[str]:
    async with cast.olga.octx() as octx:
        page = await tenant_directory.search_tenants(octx, needing=attention, limit=100)
    return [tenant.id for tenant in page.rows]


async def count_needing(cast: Cast, attention: Attention) -> int:
    async with cast.olga.octx() as octx:
        return (await tenant_directory.get_overview(octx)).attention.tenants[attention]


@pytest.mark.parametrize("attention", [each for each in Attention if each is not Attention.FAILING])
async def test_figure_counts_the_tenants_of_its_list(cast: Cast, attention: Attention) -> None:
    assert cast.acme not in await list_needing(cast, attention)
    await need(cast.acme, attention)
    listed = await list_needing(cast, attention)
    assert cast.acme in listed
    assert cast.globex not in listed
    assert await count_needing(cast, attention) == len(listed)


async def test_failing_tenants_and_cohorts_are_named(cast: Cast) -> None:
    rows: list[Any] = [
        (Dimension.ALL, "", 200, 50),
        (Dimension.TENANT, cast.acme, 50, 50),
        (Dimension.FLAG, "new_editor", 50, 50),
    ]
    for dimension, value, requests, errors in rows:
        database.connect().execute(
            "insert into traffic_minute (minute, dimension, value, requests, errors, total_ms, latency)"
            " values (date_trunc('minute', now()), %s, %s, %s, %s, 0, %s)",
            [dimension.value, value, requests, errors, [0] * (len(LATENCY_LIMITS_MS) + 1)],
        )
    assert await list_needing(cast, Attention.FAILING) == [cast.acme]
    async with cast.olga.octx() as octx:
        counts = (await tenant_directory.get_overview(octx)).attention
    assert counts.tenants[Attention.FAILING] == 1
    shown = attention_rows(counts)[-1]
    assert (shown.count, shown.note, shown.href) == ("1", "flag new_editor", "/health")


async def test_unknown_attention_is_refused(cast: Cast) -> None:
    async with cast.olga.octx() as octx:
        with pytest.raises(Invalid):
            await tenant_directory.search_tenants(octx, needing="everything")


async def test_page_reads_the_list_of_its_address(cast: Cast) -> None:
    await need(cast.acme, Attention.PAST_DUE)
    page: Any = cast.olga.opens(TenantsState, path="/tenants?needing=past_due")
    await type(page).event_handlers["load"].fn(page)
    assert page.needing == "past_due"
    assert cast.acme in [row.id for row in page.rows]
    await type(page).event_handlers["choose_attention"].fn(page, "near_limit")
    assert cast.acme not in [row.id for row in page.rows]
