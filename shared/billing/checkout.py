"""Subscribing: an order, and the provider's page that takes the payment.

The plan is there when the provider says that it is subscribed to, never because somebody came back from its page.
"""

from dataclasses import dataclass

from shared.access import actions, policy
from shared.audit import trail
from shared.billing import calls, customers, prices, providers, repository, subscriptions
from shared.billing.models import PLATFORM
from shared.billing.provider import CheckoutOrder, OrderLine
from shared.core import limits
from shared.core.config import settings
from shared.core.ctx import Ctx
from shared.core.db import now
from shared.core.errors import Conflict, Invalid, NotFound
from shared.core.limits import Limit
from shared.entitlements import holdings
from shared.entitlements.catalogue import Catalogue, Offer
from shared.tenancy import tenants

MOST_SEATS = 10_000


@dataclass(frozen=True, slots=True)
class Order:
    tenant_id: str
    lines: tuple[OrderLine, ...]
    trial_days: int
    address: str  # of the page to come back to
    key: str


async def prepare(ctx: Ctx, version_id: str, period: str, *, seats: int = 1) -> Order:
    """Raises Invalid, NotFound for what is not sold, Conflict where there is a subscription or too little room.

    The same order twice within an hour is one, whoever clicks: both lead to the same page of the provider.
    """
    policy.require(ctx, actions.BILLING_CHANGE)
    await limits.hit(Limit.BILLING_TENANT, ctx.tenant_id)
    _, catalogue = await holdings.facts(ctx)
    offer = sold(ctx, catalogue, version_id)
    await tenants.lock(ctx)
    if await subscriptions.counting(ctx) is not None:
        raise Conflict("There is a subscription already.", "Change its plan instead of buying a second one.")
    if await subscriptions.waiting(ctx) is not None:
        raise Conflict(
            "The first payment of an earlier order is still open.", "Finish that payment, or wait a day."
        )
    bought = await seats_of(ctx, offer, period, seats)
    most = subscriptions.room(offer, bought, {}, catalogue)
    if (said := await subscriptions.too_small(ctx, offer, most, None)) is not None:
        raise Conflict(*said)
    lines = await prices.order_lines(ctx.session, PLATFORM, version_id, period, seats=bought or 1)
    ever = await repository.list_subscriptions(ctx)
    days = 0 if ever else offer.trial_days
    after = {"plan": offer.said, "period": period, **({"seats": bought} if bought is not None else {})}
    trail.record(ctx, "billing.checkout_started", version_id, after=after)
    told = [[line.price_id, line.quantity] for line in lines]
    hour = int(now().timestamp()) // 3600
    return Order(
        ctx.tenant_id,
        lines,
        days,
        f"{settings().tenant_url}/t/{ctx.slug}/billing",
        f"checkout-{subscriptions.digest(ctx.tenant_id, ctx.slug, told, days, len(ever), hour)}",
    )


async def go(order: Order) -> str:
    """Address of the provider's page. Outside of every transaction. Raises Conflict."""
    async with calls.answered():
        customer_id = await customers.ensure(order.tenant_id)
        return await (await providers.get(PLATFORM)).checkout(
            CheckoutOrder(
                customer_id,
                order.lines,
                order.trial_days,
                f"{order.address}?session={{CHECKOUT_SESSION_ID}}",
                f"{order.address}?left=checkout",
                order.key,
                {"tenant_id": order.tenant_id},
            )
        )


def sold(ctx: Ctx, catalogue: Catalogue, version_id: str) -> Offer:
    """A plan that this tenant may choose now. Raises NotFound."""
    for offer in on_sale(ctx, catalogue):
        if offer.id == version_id:
            return offer
    raise NotFound("This plan is not sold any more.", "Reload the page and choose another one.")


def on_sale(ctx: Ctx, catalogue: Catalogue) -> list[Offer]:
    """What everybody may choose, and what is offered to this tenant only, from the least to the most."""
    at = now()
    own = [
        newest
        for plan in catalogue.plans.values()
        if plan.kind == "plan" and plan.for_tenant == ctx.tenant_id and plan.retired_at is None
        if (newest := catalogue.newest(plan.id, at)) is not None
    ]
    return [*catalogue.sold(at), *own]


async def seats_of(ctx: Ctx, offer: Offer, period: str, seats: int) -> int | None:
    """How many are bought; None where the plan has no price for them. Raises Invalid, Conflict."""
    parts = (await prices.in_force(ctx.session, now())).get((offer.id, period))
    if parts is None:
        raise Conflict(
            f"{offer.name} is not sold for such a period.", "Choose another period, or talk to us."
        )
    if parts.seat is None:
        return None
    if not isinstance(seats, int) or isinstance(seats, bool) or not 1 <= seats <= MOST_SEATS:
        raise Invalid(
            f"Seats are a number from 1 to {MOST_SEATS:,}.", "Correct it.", fields={"seats": "Not a number"}
        )
    most = offer.limits[subscriptions.SEATS].amount
    if most is not None and seats > most:
        raise Invalid(
            f"{offer.name} has {most} seats at most.",
            "Choose fewer, or a larger plan.",
            fields={"seats": f"At most {most}"},
        )
    return seats
