"""What a subscription bills, and when: its first period, each renewal, a change in between."""

from decimal import Decimal

from shared.dev.stripe_sandbox import collection, drafts, lines, periods, prorations
from shared.dev.stripe_sandbox.store import Account, Object

Period = tuple[int, int]


def items_of(subscription: Object) -> list[Object]:
    found: list[Object] = subscription["items"]["data"]
    return found


def period_of(item: Object) -> Period:
    return item["current_period_start"], item["current_period_end"]


def in_advance(account: Account, subscription: Object, items: list[Object]) -> list[Object]:
    """The lines for the periods these items are in: whole, or the stub before an anchor that was chosen."""
    found: list[Object] = []
    for item in items:
        if prorations.is_metered(item):
            continue
        share = stub(subscription, item)
        if share is not None and not subscription.get("_prorates", True):
            item["_basis"] = None
            continue
        found += lines.licensed(account, subscription, item, period_of(item), share)
        item["_basis"] = {"price": item["price"], "quantity": item["quantity"]}
    return found


def stub(subscription: Object, item: Object) -> Decimal | None:
    """The share of a whole period, if the item's is shorter."""
    start, end = period_of(item)
    first, last = periods.whole(subscription["billing_cycle_anchor"], item["price"]["recurring"], start)
    return None if (first, last) == (start, end) else Decimal(end - start) / Decimal(last - first)


def first_draft(account: Account, subscription: Object, reason: str) -> Object | None:
    """The invoice of a subscription that begins, or begins anew.

    None when there would be nothing on it: metered items are billed when their period is over.
    """
    if subscription["status"] == "trialing":
        found = [
            lines.trial(account, subscription, item, period_of(item))
            for item in items_of(subscription)
            if not prorations.is_metered(item)
        ]
    else:
        found = in_advance(account, subscription, items_of(subscription))
    if not found and not drafts.pending_of(account, subscription["customer"], subscription):
        return None
    return _draft(account, subscription, found, reason, None, waits=False)


def first_of_period(
    account: Account, subscription: Object, reason: str, *, tries: bool = True
) -> Object | None:
    """The same, and final: tried at once, unless somebody else will."""
    invoice = first_draft(account, subscription, reason)
    return None if invoice is None else _go_on(account, invoice, tries=tries)


def pending_now(account: Account, subscription: Object, reason: str) -> Object | None:
    if not drafts.pending_of(account, subscription["customer"], subscription):
        return None
    return _go_on(account, _draft(account, subscription, [], reason, None, waits=False))


def restart(account: Account, subscription: Object, now: int) -> None:
    """Every period begins now, and the anchor moves here."""
    subscription["billing_cycle_anchor"] = now
    for item in items_of(subscription):
        item["current_period_start"] = now
        item["current_period_end"] = periods.end_of(now, item["price"]["recurring"], now)
        item["_since"] = now
    if subscription["cancel_at_period_end"]:
        subscription["cancel_at"] = max(item["current_period_end"] for item in items_of(subscription))
    account.put(subscription)


def renewal(
    account: Account, subscription: Object, *, ends: bool = False, free: bool = False
) -> Object | None:
    """The draft of the next period of all items whose period is over now. `free`: what was used was a trial.

    `ends`: there is no next period, only the use of the last one.
    """
    now = account.now(subscription)
    over = [item for item in items_of(subscription) if item["current_period_end"] <= now or ends]
    found: list[Object] = []
    before = min((item["current_period_start"] for item in over), default=now)
    for item in over:
        if prorations.is_metered(item) and not free:
            start, end = period_of(item)
            found += lines.metered(account, subscription, item, (max(start, item["_since"]), min(end, now)))
    if ends:
        found = [line for line in found if line["amount"] or line["quantity"]]
    else:
        _move(subscription, over)
        found = [*in_advance(account, subscription, over), *found]
    if not found and not drafts.pending_of(account, subscription["customer"], subscription):
        return None
    return _draft(account, subscription, found, "subscription_cycle", (before, now), waits=True)


def _move(subscription: Object, over: list[Object]) -> None:
    for item in over:
        item["current_period_start"] = item["current_period_end"]
        item["current_period_end"] = periods.end_of(
            subscription["billing_cycle_anchor"], item["price"]["recurring"], item["current_period_start"]
        )


def _go_on(account: Account, invoice: Object, *, tries: bool = True) -> Object:
    if invoice["auto_advance"] and not account.dry:
        collection.go_on(account, invoice, tries=tries)
    return invoice


def _draft(
    account: Account,
    subscription: Object,
    found: list[Object],
    reason: str,
    period: Period | None,
    *,
    waits: bool,
) -> Object:
    pause = subscription["pause_collection"]
    stays = subscription["status"] == "unpaid" or (pause and pause["behavior"] == "keep_as_draft")
    return drafts.draft(
        account,
        account.objects["customer"][subscription["customer"]],
        found,
        reason=reason,
        currency=subscription["currency"],
        subscription=subscription,
        period=period,
        advances=not stays,
        waits=waits,
    )
