"""A disputed line of an invoice is answered with the use behind it, and its events."""

from datetime import datetime, timedelta

from shared.billing import usage as billing_usage
from shared.billing.models import PLATFORM, BillingCustomer, BillingInvoice, BillingUsage
from shared.billing.subscriptions import invoice_usage
from shared.core.db import now
from shared.core.ids import new_id
from shared.files import exports
from shared.metering import events_export, usage
from shared.tenancy import entry
from tests.conftest import Cast
from tests.support import database

METER = "api_calls"


def build_line(starts_at: datetime, ends_at: datetime) -> dict[str, object]:
    return {
        "said": "Line",
        "amount": 100,
        "quantity": 1,
        "starts_at": starts_at.isoformat(),
        "ends_at": ends_at.isoformat(),
        "proration": False,
    }


async def add_invoice(cast: Cast) -> tuple[str, datetime, datetime]:
    """Of now: a flat line of the next month, and one of the use of the month before. Returns its id and that month."""
    ends_at = now()
    starts_at = ends_at - timedelta(days=20)
    async with entry.enter_billing_sync(cast.acme, "tests") as ctx:
        customer = BillingCustomer(tenant_id=cast.acme, id=new_id("cus"), account_id=PLATFORM)
        ctx.session.add(customer)
        await ctx.session.flush()
        invoice = BillingInvoice(
            tenant_id=cast.acme,
            id=new_id("in"),
            account_id=PLATFORM,
            customer_id=customer.id,
            status="open",
            currency="usd",
            total=200,
            due=200,
            paid=0,
            created_at=ends_at,
            ticket=1,
            lines=[build_line(starts_at, ends_at), build_line(ends_at, ends_at + timedelta(days=30))],
        )
        ctx.session.add(invoice)
    return invoice.id, starts_at, ends_at


async def test_invoice_names_the_use_of_its_period(cast: Cast) -> None:
    invoice_id, starts_at, ends_at = await add_invoice(cast)
    rows = {  # used at, counted at, units
        "inside": (starts_at + timedelta(days=1), None, 3),
        "late": (starts_at - timedelta(days=1), starts_at + timedelta(days=2), 4),
        "next": (ends_at, None, 50),
    }
    async with entry.enter_billing_sync(cast.acme, "tests") as ctx:
        for name, (at, counted_at, quantity) in rows.items():
            row = BillingUsage(
                tenant_id=cast.acme,
                meter=METER,
                at=at,
                counted_at=counted_at,
                quantity=quantity,
                identifier=name,
            )
            row.tried_at, row.drawn = now(), 1 if name == "inside" else 0
            ctx.session.add(row)
        await billing_usage.record(ctx, METER, 70, starts_at + timedelta(days=1), "never sent")
    async with cast.ann.ctx() as ctx:
        (line,) = await invoice_usage.list_invoice_usage(ctx, invoice_id)
    assert (line.meter, line.starts_at, line.ends_at) == (METER, starts_at, ends_at)
    assert (line.units, line.drawn, line.moved) == (6, 1, 4)


async def test_events_behind_a_line_are_exported(cast: Cast) -> None:
    since, until = now() - timedelta(hours=2), now() + timedelta(minutes=1)
    async with cast.ann.ctx() as ctx:
        await usage.record(ctx, METER, "k1", quantity=5)
        await usage.record(ctx, METER, "old", occurred_at=since - timedelta(hours=3))
    export_filter = {"meter": METER, "since": since.isoformat(), "until": until.isoformat()}
    async with cast.ann.ctx() as ctx:
        view = await exports.begin(ctx, events_export.USAGE_EVENTS.name, "csv", export_filter)
        page = await events_export.list_batch(ctx, export_filter, "")
    assert view.id
    assert [(*row[:3], row[-1]) for row in page.rows] == [(METER, "k1", "5", "")]


async def test_events_that_no_longer_count_say_so_in_the_export(cast: Cast) -> None:
    since, until = now() - timedelta(hours=2), now() + timedelta(minutes=1)
    async with cast.ann.ctx() as ctx:
        await usage.record(ctx, METER, "k1", quantity=5)
    database.connect().execute("update usage_event set voided_by = 'ucr_x' where tenant_id = %s", [cast.acme])
    export_filter = {"meter": METER, "since": since.isoformat(), "until": until.isoformat()}
    async with cast.ann.ctx() as ctx:
        (row,) = (await events_export.list_batch(ctx, export_filter, "")).rows
    assert (events_export.COLUMNS[-1].title, row[-1]) == ("Voided by", "ucr_x")
