"""What a person does on the hosted Portal page. Each verb raises Refusal when it cannot be done."""

from shared.dev.stripe_sandbox.store import Account


def replace_card(account: Account, customer: str, card: str) -> None:
    """Attach this card number as default; open invoices are paid with it, as the portal does."""
    raise NotImplementedError


def cancel(account: Account, subscription: str) -> None:
    """At the end of the period, or now: as the portal's configuration says."""
    raise NotImplementedError


def resume(account: Account, subscription: str) -> None:
    """Take a cancellation at period end back."""
    raise NotImplementedError
