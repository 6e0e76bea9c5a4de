"""What a subscription bills, and when: its first period, each renewal, a change in between."""

from decimal import Decimal

from shared.dev.stripe_sandbox import collection, drafts, lines, periods, prorations, sent_invoices
from shared.dev.stripe_sandbox.store import Account, Object

Period = tuple[int, int]


def list_items(subscription: Object) -> list[Object]:
    items: list[Object] = subscription["items"]["data"]
    return items


def get_period(item: Object) -> Period:
    return item["current_period_start"], item["current_period_end"]


def build_advance_lines(account: Account, subscription: Object, items: list[Object]) -> list[Object]:
    """The lines for the periods these items are in: whole, or the stub before an anchor that was chosen."""
    advance_lines: list[Object] = []
    for item in items:
        if prorations.is_metered(item):
            continue
        share = compute_stub_share(subscription, item)
        if share is not None and not subscription.get("_prorates", True):
            item["_basis"] = None
            continue
        advance_lines += lines.build_licensed_lines(account, subscription, item, get_period(item), share)
        item["_basis"] = prorations.build_basis(account, subscription, item)
    return advance_lines


def compute_stub_share(subscription: Object, item: Object) -> Decimal | None:
    """The share of a whole period, if the item's is shorter."""
    start, end = get_period(item)
    full_start, full_end = periods.compute_full_period(
        subscription["billing_cycle_anchor"], item["price"]["recurring"], start
    )
    return (
        None
        if (full_start, full_end) == (start, end)
        else Decimal(end - start) / Decimal(full_end - full_start)
    )


def draft_first_invoice(account: Account, subscription: Object, reason: str) -> Object | None:
    """The invoice of a subscription that begins, or begins again.

    None when there would be nothing on it: metered items are billed when their period is over.
    """
    if subscription["status"] == "trialing":
        invoice_lines = [
            lines.build_trial_line(account, subscription, item, get_period(item))
            for item in list_items(subscription)
            if not prorations.is_metered(item)
        ]
    else:
        invoice_lines = build_advance_lines(account, subscription, list_items(subscription))
    if not invoice_lines and not drafts.list_pending_items(account, subscription["customer"], subscription):
        return None
    # https://docs.stripe.com/billing/invoices/subscription: an hour later where it is sent.
    is_delayed = reason == "subscription_create" and sent_invoices.is_sent(subscription)
    return _draft_invoice(account, subscription, invoice_lines, reason, None, delay_finalization=is_delayed)


def bill_first_period(
    account: Account, subscription: Object, reason: str, *, charge_now: bool = True
) -> Object | None:
    """Drafts and finalizes the first invoice. `charge_now`: whether to collect it."""
    invoice = draft_first_invoice(account, subscription, reason)
    return None if invoice is None else _finalize_and_collect(account, invoice, charge_now=charge_now)


def bill_pending_items(
    account: Account, subscription: Object, reason: str, *, charge_now: bool = True
) -> Object | None:
    if not drafts.list_pending_items(account, subscription["customer"], subscription):
        return None
    invoice = _draft_invoice(account, subscription, [], reason, None, delay_finalization=False)
    return _finalize_and_collect(account, invoice, charge_now=charge_now)


def restart_periods(account: Account, subscription: Object, now: int) -> None:
    """Every period begins now, and the anchor moves here."""
    subscription["billing_cycle_anchor"] = now
    for item in list_items(subscription):
        item["current_period_start"] = now
        item["current_period_end"] = periods.compute_period_end(now, item["price"]["recurring"], now)
        item["_since"] = now
    if subscription["cancel_at_period_end"]:
        subscription["cancel_at"] = max(item["current_period_end"] for item in list_items(subscription))
    account.put(subscription)


def draft_renewal(
    account: Account, subscription: Object, *, is_final: bool = False, after_trial: bool = False
) -> Object | None:
    """The draft for the next period of all items whose period is over. `after_trial`: usage of the last period was
    free.

    `is_final`: there is no next period, only the usage of the last one.
    """
    now = account.now(subscription)
    due_items = [item for item in list_items(subscription) if item["current_period_end"] <= now or is_final]
    invoice_lines: list[Object] = []
    period_start = min((item["current_period_start"] for item in due_items), default=now)
    for item in due_items:
        if prorations.is_metered(item) and not after_trial:
            start, end = get_period(item)
            invoice_lines += lines.build_metered_lines(
                account, subscription, item, (max(start, item["_since"]), min(end, now))
            )
    if is_final:
        invoice_lines = [line for line in invoice_lines if line["amount"] or line["quantity"]]
    else:
        _advance_periods(subscription, due_items)
        invoice_lines = [*build_advance_lines(account, subscription, due_items), *invoice_lines]
    if not invoice_lines and not drafts.list_pending_items(account, subscription["customer"], subscription):
        return None
    return _draft_invoice(
        account,
        subscription,
        invoice_lines,
        "subscription_cycle",
        (period_start, now),
        delay_finalization=True,
    )


def _advance_periods(subscription: Object, items: list[Object]) -> None:
    for item in items:
        item["current_period_start"] = item["current_period_end"]
        item["current_period_end"] = periods.compute_period_end(
            subscription["billing_cycle_anchor"], item["price"]["recurring"], item["current_period_start"]
        )


def _finalize_and_collect(account: Account, invoice: Object, *, charge_now: bool = True) -> Object:
    if invoice["auto_advance"] and not account.is_preview:
        collection.finalize_and_collect(account, invoice, charge_now=charge_now)
    return invoice


def _draft_invoice(
    account: Account,
    subscription: Object,
    invoice_lines: list[Object],
    reason: str,
    period: Period | None,
    *,
    delay_finalization: bool,
) -> Object:
    pause = subscription["pause_collection"]
    stays_draft = subscription["status"] == "unpaid" or (pause and pause["behavior"] == "keep_as_draft")
    return drafts.create_draft(
        account,
        account.objects["customer"][subscription["customer"]],
        invoice_lines,
        reason=reason,
        currency=subscription["currency"],
        subscription=subscription,
        period=period,
        auto_advance=not stays_draft,
        delay_finalization=delay_finalization,
    )
