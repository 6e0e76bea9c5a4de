"""Stripe's test cards and bank accounts: which number does what, and the names by which tests hand them over."""

from dataclasses import dataclass

from shared.dev.stripe_sandbox.refusals import ApiError, card_declined_error


@dataclass(frozen=True, slots=True)
class Card:
    number: str
    name: str  # of `pm_card_…` and `tok_…`
    brand: str = "visa"
    is_attachable: bool = True
    is_chargeable: bool = True
    needs_confirmation: bool = False  # by the person, at every payment
    decline_code: str = "generic_decline"
    message: str = "Your card was declined."
    kind: str = "card"  # or "sepa_debit": the number is an IBAN, and a payment is processed for days


CARDS = (
    Card("4242424242424242", "visa"),
    Card("5555555555554444", "mastercard", brand="mastercard"),
    Card("378282246310005", "amex", brand="amex"),
    Card("4000000000000002", "chargeDeclined", is_attachable=False, is_chargeable=False),
    Card(
        "4000000000009995",
        "chargeDeclinedInsufficientFunds",
        is_attachable=False,
        is_chargeable=False,
        decline_code="insufficient_funds",
        message="Your card has insufficient funds.",
    ),
    Card("4000000000000341", "chargeCustomerFail", is_chargeable=False),
    Card("4000002760003184", "authenticationRequired", needs_confirmation=True),
)
# https://docs.stripe.com/billing/subscriptions/sepa-debit; a control says how their payments end
BANK_ACCOUNTS = (Card("AT321904300235473204", "sepaDebit", kind="sepa_debit"),)
BY_NUMBER = {card.number: card for card in (*CARDS, *BANK_ACCOUNTS)}
BY_NAME = {f"{prefix}{card.name}": card for card in CARDS for prefix in ("pm_card_", "tok_")}


def find_by_number(number: str) -> Card:
    card = BY_NUMBER.get("".join(number.split()))
    if card is None or card.kind != "card":
        raise ApiError(
            "Your card number is incorrect.",
            status=402,
            kind="card_error",
            code="incorrect_number",
            param="number",
        )
    return card


def require_attachable(card: Card) -> None:
    if not card.is_attachable:
        raise card_declined_error(card.message, decline_code=card.decline_code)
