"""What a person does on the hosted Checkout page: pay, or leave it."""

from dataclasses import dataclass

from shared.dev.stripe_sandbox.store import Account


@dataclass(frozen=True, slots=True)
class Outcome:
    """`paid`, or `declined` with a sentence for the page. `url`: where the browser goes next, if it goes."""

    paid: bool
    message: str = ""
    url: str = ""


def pay(account: Account, session_id: str, card: str) -> Outcome:
    """Enter this card number and press the button. Raises Refusal for a session that is not open."""
    raise NotImplementedError


def today(account: Account, session_id: str) -> int:
    """What the button charges now, in minor units: nothing in a trial."""
    raise NotImplementedError
