"""Stripe's test cards: which number does what, and the names by which tests hand them over."""

from dataclasses import dataclass

from shared.dev.stripe_sandbox.refusals import Refusal, declined


@dataclass(frozen=True, slots=True)
class Card:
    number: str
    name: str  # of `pm_card_…` and `tok_…`
    brand: str = "visa"
    attaches: bool = True
    pays: bool = True
    reason: str = "generic_decline"
    message: str = "Your card was declined."


CARDS = (
    Card("4242424242424242", "visa"),
    Card("5555555555554444", "mastercard", brand="mastercard"),
    Card("378282246310005", "amex", brand="amex"),
    Card("4000000000000002", "chargeDeclined", attaches=False, pays=False),
    Card(
        "4000000000009995",
        "chargeDeclinedInsufficientFunds",
        attaches=False,
        pays=False,
        reason="insufficient_funds",
        message="Your card has insufficient funds.",
    ),
    Card("4000000000000341", "chargeCustomerFail", pays=False),
)
BY_NUMBER = {card.number: card for card in CARDS}
BY_NAME = {f"{prefix}{card.name}": card for card in CARDS for prefix in ("pm_card_", "tok_")}


def by_number(number: str) -> Card:
    card = BY_NUMBER.get("".join(number.split()))
    if card is None:
        raise Refusal(
            "Your card number is incorrect.",
            status=402,
            kind="card_error",
            code="incorrect_number",
            param="number",
        )
    return card


def must_attach(card: Card) -> None:
    if not card.attaches:
        raise declined(card.message, decline_code=card.reason)
