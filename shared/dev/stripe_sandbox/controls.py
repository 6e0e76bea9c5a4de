"""Controls of the sandbox for developers and tests: time, network, faults and bad cards. Stripe has none of them.

A control is a form; `apply` returns the values that the caller may need afterwards.
"""

import time
from dataclasses import fields
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from shared.dev.stripe_sandbox import (
    collection,
    customer_view,
    disputes,
    fraud_warnings,
    outage,
    portal,
    refunds,
    signing,
    taxes,
    timeline,
)
from shared.dev.stripe_sandbox.chaos import Chaos, ReleaseOrder
from shared.dev.stripe_sandbox.customers import get_customer
from shared.dev.stripe_sandbox.deliveries import DeliveryQueue
from shared.dev.stripe_sandbox.objects import fetch_object, make_object
from shared.dev.stripe_sandbox.refusals import ApiError, not_found_error
from shared.dev.stripe_sandbox.store import Account, Fault, Object, copy_visible

DEMO_KEY = "sk_test_bulkhead_demo"
DAY = 86_400
DRAFT_SECONDS = 2 * 3600  # an invoice of a renewal stays a draft for about an hour
PAYING_CARD = "4242424242424242"
ApiKey = Annotated[str, StringConstraints(pattern=r"^(sk|rk)_test_\w{1,200}$")]


class Control(BaseModel):
    model_config = ConfigDict(extra="forbid")
    account: ApiKey = DEMO_KEY

    async def apply(self, account: Account, deliveries: DeliveryQueue) -> Object:
        raise NotImplementedError


class AdvanceClock(Control):
    """Advance the account, or one of its test clocks: by days and seconds, or to a moment."""

    days: float = Field(0, ge=0, le=3700)
    seconds: float = Field(0, ge=0, le=3700 * DAY)
    to: int | None = None
    clock: str = ""

    async def apply(self, account: Account, deliveries: DeliveryQueue) -> Object:  # noqa: ARG002
        clock = account.get("test_helpers.test_clock", self.clock)
        if self.clock and clock is None:
            raise not_found_error("test_helpers.test_clock", self.clock)
        until = self.to or account.now(clock) + round(self.days * DAY + self.seconds)
        return {"now": _advance_to(account, clock, until)}


class AssignOwnClock(Control):
    """Gives a customer without a test clock its own one, so that advancing it affects no other customer.

    `seconds_ago`: what the clock is behind, for a past that has passed here as well.
    """

    customer: str
    seconds_ago: int = Field(0, ge=0, le=60 * DAY)

    async def apply(self, account: Account, deliveries: DeliveryQueue) -> Object:  # noqa: ARG002
        customer, now = get_customer(account, self.customer), account.now() - self.seconds_ago
        if customer.get("test_clock"):
            return {"clock": customer["test_clock"]}
        clock = make_object(
            account,
            "test_helpers.test_clock",
            frozen_time=now,
            name=customer["name"],
            status="ready",
            created=now,
            deletes_after=now + 30 * DAY,
        )
        account.put(clock)
        customer["test_clock"] = clock["id"]
        account.put(customer)
        account.plan_again(customer["id"])
        return {"clock": clock["id"]}


class AdvanceToRenewal(Control):
    """Advance to shortly after the customer's next renewal, when the charge of its invoice has succeeded or failed."""

    customer: str

    async def apply(self, account: Account, deliveries: DeliveryQueue) -> Object:  # noqa: ARG002
        customer = get_customer(account, self.customer)
        period_ends = [
            item["current_period_end"]
            for subscription in customer_view.list_live_subscriptions(account, customer)
            for item in subscription["items"]["data"]
        ]
        if not period_ends:
            raise ApiError("This customer has no subscription that renews.", param="customer")
        clock = account.get("test_helpers.test_clock", account.get_clock_id(customer))
        return {"now": _advance_to(account, clock, min(period_ends) + DRAFT_SECONDS)}


class ReplaceCard(Control):
    """Replace the card, as the customer would in the portal."""

    customer: str
    card: str = PAYING_CARD

    async def apply(self, account: Account, deliveries: DeliveryQueue) -> Object:  # noqa: ARG002
        portal.replace_card(account, get_customer(account, self.customer)["id"], self.card)
        return {}


class DeclineNextCharges(Control):
    """The next charges of this customer are declined, whatever the card."""

    customer: str
    times: int = Field(1, ge=1, le=100)

    async def apply(self, account: Account, deliveries: DeliveryQueue) -> Object:  # noqa: ARG002
        customer = get_customer(account, self.customer)
        customer["_declines"] = self.times
        account.put(customer)
        return {}


class DisputePayment(Control):
    """The customer disputes the last payment at their bank. `inquiry`: the bank only asks."""

    customer: str
    inquiry: bool = False

    async def apply(self, account: Account, deliveries: DeliveryQueue) -> Object:  # noqa: ARG002
        charges = account.list_for_customer("charge", get_customer(account, self.customer)["id"])
        paid_charge = next((charge for charge in charges if charge["paid"]), None)
        if paid_charge is None:
            raise ApiError("This customer has paid nothing.", param="customer")
        return {"dispute": disputes.open_dispute(account, paid_charge, is_inquiry=self.inquiry)["id"]}


class WarnOfFraud(Control):
    """The bank of the card suspects that the last payment is fraudulent."""

    customer: str

    async def apply(self, account: Account, deliveries: DeliveryQueue) -> Object:  # noqa: ARG002
        charges = account.list_for_customer("charge", get_customer(account, self.customer)["id"])
        paid_charge = next((charge for charge in charges if charge["paid"]), None)
        if paid_charge is None:
            raise ApiError("This customer has paid nothing.", param="customer")
        return {"warning": fraud_warnings.warn_of_fraud(account, paid_charge)["id"]}


class EndDispute(Control):
    """The bank decides."""

    dispute: str
    outcome: Literal["won", "lost"] = "lost"

    async def apply(self, account: Account, deliveries: DeliveryQueue) -> Object:  # noqa: ARG002
        disputes.end_dispute(account, fetch_object(account, "dispute", self.dispute), self.outcome)
        return {}


class HoldRefunds(Control):
    """The next refunds of this customer stay pending until they are settled."""

    customer: str
    times: int = Field(1, ge=1, le=100)

    async def apply(self, account: Account, deliveries: DeliveryQueue) -> Object:  # noqa: ARG002
        customer = get_customer(account, self.customer)
        customer["_pending_refunds"] = self.times
        account.put(customer)
        return {}


class SettleRefund(Control):
    """The bank accepts or refuses a refund. It may refuse one that had succeeded."""

    refund: str
    outcome: Literal["succeeded", "failed"] = "failed"

    async def apply(self, account: Account, deliveries: DeliveryQueue) -> Object:  # noqa: ARG002
        refunds.settle_refund(account, fetch_object(account, "refund", self.refund), self.outcome)
        return {}


class SettleDebit(Control):
    """The bank accepts or refuses the debit of a bank account, which is processed until then."""

    invoice: str
    outcome: Literal["succeeded", "failed"] = "succeeded"

    async def apply(self, account: Account, deliveries: DeliveryQueue) -> Object:  # noqa: ARG002
        collection.settle_debit(account, fetch_object(account, "invoice", self.invoice), self.outcome)
        return {}


class SetChaos(Control):
    """A setting that is left out is off, so an empty form turns all of them off."""

    seed: int = 0
    hold: bool = False
    delay_s: float = Field(0, ge=0, le=3600)
    shuffle_s: float = Field(0, ge=0, le=3600)
    duplicate: float = Field(0, ge=0, le=1)
    duplicate_next: int = Field(0, ge=0, le=100_000)
    drop: float = Field(0, ge=0, le=1)
    drop_next: int = Field(0, ge=0, le=100_000)

    async def apply(self, account: Account, deliveries: DeliveryQueue) -> Object:
        chaos_settings = {
            setting.name: getattr(self, setting.name) for setting in fields(Chaos) if setting.init
        }
        deliveries.set_chaos(account, Chaos(**chaos_settings))
        return {"chaos": chaos_settings}


class ReleaseHeldDeliveries(Control):
    """Send the held deliveries one after the other, before the response."""

    order: ReleaseOrder = "kept"
    count: int | None = Field(None, ge=1)

    async def apply(self, account: Account, deliveries: DeliveryQueue) -> Object:
        return {"released": await deliveries.release_held(account, self.order, self.count)}


class ResendEvent(Control):
    event: str
    endpoint: str

    async def apply(self, account: Account, deliveries: DeliveryQueue) -> Object:
        return {"delivery": deliveries.resend_event(account, self.event, self.endpoint)["id"]}


class SetDeliveryTiming(Control):
    """Seconds between attempts of a delivery, and seconds until an endpoint that does not respond has failed."""

    gaps: Annotated[list[Annotated[float, Field(ge=0, le=DAY)]], Field(max_length=30)]
    timeout_s: float = Field(10, gt=0, le=120)

    async def apply(self, account: Account, deliveries: DeliveryQueue) -> Object:  # noqa: ARG002
        account.settings.update(delivery_gaps=self.gaps, delivery_timeout_s=self.timeout_s)
        account.put(account.settings)
        return {}


class RollSigningSecret(Control):
    """A new signing secret; deliveries are also signed with the old one for `overlap_s` seconds."""

    endpoint: str
    overlap_s: float = Field(DAY, ge=0, le=7 * DAY)

    async def apply(self, account: Account, deliveries: DeliveryQueue) -> Object:  # noqa: ARG002
        endpoint = account.get("webhook_endpoint", self.endpoint)
        if endpoint is None:
            raise not_found_error("webhook_endpoint", self.endpoint)
        return {"secret": signing.roll_secret(account, endpoint, self.overlap_s)}


class AddFault(Control):
    """The next requests whose path contains `path` fail, as `Fault` says."""

    kind: Literal["429", "500", "500-done", "401", "timeout", "lost"]
    times: int = Field(1, ge=1, le=100_000)
    path: str = ""
    seconds: float = Field(0, ge=0, le=600)

    async def apply(self, account: Account, deliveries: DeliveryQueue) -> Object:  # noqa: ARG002
        account.faults.append(Fault(self.kind, self.times, self.path, self.seconds))
        return {"faults": len(account.faults)}


class SetUpTax(Control):
    """Sets where the seller is, without which automatic tax is refused, and what prices without a tax behavior mean."""

    country: Annotated[str, StringConstraints(pattern=r"^[A-Z]{2}$")]
    behavior: Literal["", "exclusive", "inclusive", "inferred_by_currency"] = ""

    async def apply(self, account: Account, deliveries: DeliveryQueue) -> Object:  # noqa: ARG002
        taxes.set_up(account, country=self.country, behavior=self.behavior)
        return {}


class StartOutage(Control):
    """The API refuses everything, and nothing is delivered."""

    seconds: float = Field(60, ge=0, le=DAY)

    async def apply(self, account: Account, deliveries: DeliveryQueue) -> Object:
        outage.start_outage(account, self.seconds)
        deliveries.wake()
        return {"until": outage.get_outage_end(account)}


class ClearFaults(Control):
    """Remove all faults and end the outage."""

    async def apply(self, account: Account, deliveries: DeliveryQueue) -> Object:
        account.faults.clear()
        outage.start_outage(account, 0)
        deliveries.wake()
        return {}


# By the last part of the address: the control, and the message after it was applied.
CONTROLS: dict[str, tuple[type[Control], str]] = {
    "advance": (AdvanceClock, "The clock was advanced."),
    "dispute": (DisputePayment, "The payment was disputed."),
    "end-dispute": (EndDispute, "The dispute has ended."),
    "warn-of-fraud": (WarnOfFraud, "The bank has warned of fraud."),
    "hold-refunds": (HoldRefunds, "The next refunds of this customer stay pending."),
    "settle-debit": (SettleDebit, "The bank has answered."),
    "settle-refund": (SettleRefund, "The refund was settled."),
    "chaos": (SetChaos, "Deliveries now fail like this."),
    "fail": (AddFault, "The next requests will fail."),
    "fail-renewal": (DeclineNextCharges, "The next charge of this customer will be declined."),
    "mend": (ClearFaults, "Stripe responds again."),
    "network": (SetDeliveryTiming, "Deliveries are retried at these times."),
    "own-clock": (AssignOwnClock, "The customer has its own clock."),
    "release": (ReleaseHeldDeliveries, "The held deliveries were sent."),
    "renew": (AdvanceToRenewal, "The clock was advanced past the renewal."),
    "replace-card": (ReplaceCard, "The card was replaced."),
    "resend": (ResendEvent, "The event was sent again."),
    "roll": (RollSigningSecret, "There is a new signing secret. The old one stays valid for a while."),
    "set-up-tax": (SetUpTax, "Automatic tax is set up."),
    "stop": (StartOutage, "Stripe was stopped."),
}


def _advance_to(account: Account, clock: Object | None, until: int) -> int:
    if until <= account.now(clock):
        raise ApiError("Time only moves forward: choose a later moment.", param="to")
    if clock is not None:
        timeline.advance_clock(account, clock["id"], until)
    else:
        timeline.advance_account(account, until - account.now())
    return account.now(clock)


def get_status(account: Account, deliveries: DeliveryQueue, limit: int = 100) -> dict[str, Any]:
    """The state of the account and its deliveries, for the page and for tests."""
    return {
        "account": account.key,
        "id": account.id,
        "now": account.now(),
        "chaos": deliveries.get_chaos(account).to_dict(),
        "clocks": copy_visible(account.list_objects("test_helpers.test_clock")),
        "tax": taxes.show_settings(account),
        "faults": [vars(fault) for fault in account.faults],
        "stopped_s": max(0, round(outage.get_outage_end(account) - time.time())),
        "deliveries": deliveries.list_deliveries(account)[:limit],
    }
