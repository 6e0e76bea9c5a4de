"""Maps Stripe's subscriptions, their items, schedules and cancellations to ours.

Reads two generations of the API: periods on the items (since 2025-03-31), and at the top level as before. Unknown statuses
pass through.
"""

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Any

from shared.billing.provider_values import (
    NO_REASON,
    AfterTrial,
    CanceledAddon,
    Cancellation,
    OrderLine,
    PauseCause,
    PendingChange,
    ScheduledChange,
    Subscription,
    SubscriptionItem,
    UpcomingInvoice,
)
from shared.billing.stripe_adapter.invoice_mapping import (
    get_due_time,
    get_item_subscription_id,
    get_subscription_id,
    has_failed,
    to_pending_line,
)
from shared.billing.stripe_adapter.metadata_keys import (
    CANCELED_ADDON_PREFIX,
    CHANGE_KEY,
    DISPUTE_KEY,
    PRICE_ID_KEY,
    TAX_KEY,
)
from shared.billing.stripe_adapter.stripe_values import (
    SEND_INVOICE,
    Raw,
    get_data,
    get_object_id,
    get_path,
    to_datetime,
)

AFTER_TRIAL: dict[str, AfterTrial] = {"cancel": "cancel", "pause": "pause", "create_invoice": "invoice"}
# By `status_details.paused.subscription.type`; "system" and later ones stay unknown.
PAUSE_CAUSES: dict[str, PauseCause] = {
    "final_payment_failure": "payment",
    "first_payment_failure": "payment",
    "pause_requested": "request",
    "trial_end_without_payment_method": "trial",
}
MAX_COMMENT_LENGTH = 5_000  # of a comment about a cancellation, which is Stripe's limit too


def to_subscription(raw: Raw, invoices: Iterable[Raw] = (), *, pays: bool = False) -> Subscription:
    """`pays`: the customer has a payment method, even if the subscription has none."""
    lines = tuple(_to_item(item, raw) for item in get_data(raw.get("items")))
    pending_change = to_pending_change(raw)
    cancel_at = to_datetime(raw.get("cancel_at"))
    if cancel_at is None and raw.get("cancel_at_period_end"):
        cancel_at = max((line.ends_at for line in lines if line.ends_at), default=None)
    return Subscription(
        id=raw["id"],
        status=str(raw.get("status") or ""),
        created_at=to_datetime(raw.get("created")) or datetime.fromtimestamp(0, UTC),
        lines=lines,
        kept=_to_canceled_addons(raw.get("metadata") or {}),
        trial_ends_at=to_datetime(raw.get("trial_end")),
        after_trial=AFTER_TRIAL.get(
            get_path(raw, "trial_settings", "end_behavior", "missing_payment_method") or "", "invoice"
        ),
        pays=pays
        or bool(raw.get("default_payment_method") or raw.get("default_source"))
        or raw.get("collection_method") == SEND_INVOICE,
        cancel_at=cancel_at,
        ended_at=to_datetime(raw.get("ended_at")),
        failed_since=min(
            (
                get_due_time(raw_invoice)
                for raw_invoice in invoices
                if has_failed(raw_invoice)
                and get_subscription_id(raw_invoice) == raw["id"]
                and not (pending_change and raw_invoice["id"] == pending_change.invoice_id)
            ),
            default=None,
        ),
        currency=raw.get("currency") or "",
        pause_cause=_get_pause_cause(raw),
        paused_collection=str(get_path(raw, "pause_collection", "behavior") or ""),
        pending_change=pending_change,
        is_taxed=bool(get_path(raw, "automatic_tax", "enabled")),
        cancellation=_to_cancellation(raw),
        scheduled_change=to_scheduled_change(raw.get("schedule")),
        paused_at=to_datetime(get_path(raw, "status_details", "paused", "transitioned_at"))
        if raw.get("status") == "paused"
        else None,
        unpaid_tax_at=get_unpaid_tax_time(raw),
        dispute_mark=str(get_path(raw, "metadata", DISPUTE_KEY) or ""),
        days_until_due=raw.get("days_until_due") or 0 if raw.get("collection_method") == SEND_INVOICE else 0,
    )


def get_unpaid_tax_time(raw: Raw) -> datetime | None:
    """When the tax of this subscription was turned on for a change that wasn't paid and doesn't wait for it."""
    at, _, key = str(get_path(raw, "metadata", TAX_KEY) or "").partition(":")
    is_open = not at.isdecimal() or key == get_path(raw, "metadata", CHANGE_KEY) or raw.get("pending_update")
    if is_open or not get_path(raw, "automatic_tax", "enabled"):
        return None
    return to_datetime(int(at))


def to_scheduled_change(schedule: Any) -> ScheduledChange | None:
    """From a schedule with expanded prices; None for one without a next phase, and for its mere id."""
    next_phase = find_next_phase(schedule) if isinstance(schedule, Mapping) else None
    if next_phase is None:
        return None
    return ScheduledChange(
        datetime.fromtimestamp(next_phase["start_date"], UTC),
        tuple(
            OrderLine(
                str(get_path(item["price"], "metadata", PRICE_ID_KEY) or ""),
                get_object_id(item["price"]),
                item.get("quantity"),
            )
            for item in next_phase.get("items") or ()
        ),
    )


def find_next_phase(schedule: Raw) -> Raw | None:
    """The phase after the current one; None for the last one, and for a schedule that is over."""
    ends = get_path(schedule, "current_phase", "end_date")
    if schedule.get("status") != "active" or ends is None:
        return None
    phases = sorted(schedule.get("phases") or (), key=lambda phase: phase["start_date"])
    return next((phase for phase in phases if phase["start_date"] >= ends), None)


def to_cancellation_answers(reason: Cancellation) -> Any:  # the SDK has a type for each call
    """The `cancellation_details` of a call; {} for a customer who didn't say why."""
    answers = {"feedback": reason.feedback, "comment": reason.comment}
    return {key: value for key, value in answers.items() if value}


def _to_cancellation(raw: Raw) -> Cancellation:
    """https://docs.stripe.com/api/subscriptions/object#subscription_object-cancellation_details"""
    if not raw.get("cancel_at") and not raw.get("cancel_at_period_end") and not raw.get("ended_at"):
        return NO_REASON  # the details stay after a cancellation was taken back
    return Cancellation(
        feedback=str(get_path(raw, "cancellation_details", "feedback") or ""),
        comment=str(get_path(raw, "cancellation_details", "comment") or "")[:MAX_COMMENT_LENGTH],
        canceled_at=to_datetime(raw.get("canceled_at")),
    )


def _get_pause_cause(raw: Raw) -> PauseCause:
    """The details stay after a subscription was resumed."""
    cause = get_path(raw, "status_details", "paused", "subscription", "type")
    return PAUSE_CAUSES.get(str(cause), "") if raw.get("status") == "paused" else ""


def to_pending_change(raw: Raw) -> PendingChange | None:
    """The change of a subscription that waits for its payment; None without one."""
    expires_at = to_datetime(get_path(raw, "pending_update", "expires_at"))
    return PendingChange(get_object_id(raw.get("latest_invoice")), expires_at) if expires_at else None


def to_last_invoices(
    customer: Raw, subscriptions: Iterable[Raw], items: Iterable[Raw]
) -> list[UpcomingInvoice]:
    """What is charged when these subscriptions end: their pending items; the first one also charges those of none."""
    invoices, remaining_items = list[UpcomingInvoice](), list(items)
    for raw in subscriptions:
        own_items = [item for item in remaining_items if get_item_subscription_id(item) in ("", raw["id"])]
        remaining_items = [item for item in remaining_items if item not in own_items]
        if not own_items:
            continue
        lines = tuple(to_pending_line(item) for item in own_items)
        total = sum(line.amount for line in lines)
        invoices.append(
            UpcomingInvoice(
                subscription_id=raw["id"],
                currency=own_items[0].get("currency") or "",
                at=to_subscription(raw).cancel_at,
                total=total,
                due=max(0, total + (customer.get("balance") or 0)),
                lines=lines,
                is_last=True,
            )
        )
    return invoices


def ends_with_period(raw: Raw) -> bool:
    """Whether a subscription isn't renewed any more."""
    subscription = to_subscription(raw)
    renews_at = min((line.ends_at for line in subscription.lines if line.ends_at), default=None)
    cancel_at = subscription.cancel_at
    return cancel_at is not None and (renews_at is None or cancel_at <= renews_at)


def to_canceled_addon_metadata(addons: Iterable[CanceledAddon], metadata: Raw) -> dict[str, str]:
    """The metadata update for cancelled add-ons; an empty text removes a key."""
    removed_keys = {key: "" for key in metadata if key.startswith(CANCELED_ADDON_PREFIX)}
    return removed_keys | {
        f"{CANCELED_ADDON_PREFIX}{addon.price_id}": f"{addon.quantity}:{int(addon.until.timestamp())}"
        for addon in addons
    }


def _to_item(item: Raw, raw_subscription: Raw) -> SubscriptionItem:
    price = item.get("price") or {}
    metered = get_path(price, "recurring", "usage_type") == "metered"
    return SubscriptionItem(
        id=get_object_id(item),
        price_id=str(get_path(price, "metadata", PRICE_ID_KEY) or ""),
        external_price_id=get_object_id(price),
        quantity=0 if metered else item.get("quantity") or 0,
        starts_at=to_datetime(
            item.get("current_period_start") or raw_subscription.get("current_period_start")
        ),
        ends_at=to_datetime(item.get("current_period_end") or raw_subscription.get("current_period_end")),
    )


def _to_canceled_addons(metadata: Raw) -> tuple[CanceledAddon, ...]:
    addons = []
    for key, value in sorted(metadata.items()):
        quantity, _, until = str(value).partition(":")
        if (
            key.startswith(CANCELED_ADDON_PREFIX) and quantity.isdecimal() and until.isdecimal()
        ):  # people can edit metadata too
            addons.append(
                CanceledAddon(
                    key.removeprefix(CANCELED_ADDON_PREFIX),
                    int(quantity),
                    datetime.fromtimestamp(int(until), UTC),
                )
            )
    return tuple(addons)
