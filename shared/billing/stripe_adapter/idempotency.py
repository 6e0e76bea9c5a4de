"""Writes whose idempotency key survives an answer that Stripe saved under it.

Stripe repeats the first answer of a key for at least a day, once the endpoint began to execute: server errors, failed
payments and some refusals. Parameters that fail validation are not saved (docs.stripe.com/api/idempotent_requests,
docs.stripe.com/error-low-level). A fixed key would fail for all that time. So a repeated error is checked: either the request
took effect, or it is sent again under the next generation of its key.

A failed payment (402) is final for its key: the next generation would charge the card again. Whoever tries again with another
card makes a new request, which has a new key.
"""

from collections.abc import Awaitable, Callable
from typing import TypeVar

import stripe

from shared.billing.stripe_adapter.transport import is_repeated

PAYMENT_FAILED = 402
MAX_GENERATIONS = 8  # of one key, each of them with an error that Stripe repeats
T = TypeVar("T")
Send = Callable[[stripe.RequestOptions], Awaitable[T]]
FindEffect = Callable[[], Awaitable[T | None]]


async def send_once(key: str, send: Send[T], find_effect: FindEffect[T]) -> T:
    """The result of `send`, which passes the options on to the SDK. It takes effect once, however often it is called.

    `find_effect`: the same result read from Stripe, None where the request took no effect. Raises the errors of the
    SDK: new ones, failed payments, and one that is repeated for every generation of the key.
    """
    problem: stripe.StripeError | None = None
    for generation in range(MAX_GENERATIONS):
        try:
            return await send({"idempotency_key": build_key(key, generation)})
        except stripe.StripeError as error:
            if not is_repeated(error.headers or {}) or error.http_status == PAYMENT_FAILED:
                raise
            problem = error
        # A refused request took no effect. A server error says nothing about it.
        if (problem.http_status or 0) >= 500 and (result := await find_effect()) is not None:
            return result
    assert problem is not None
    raise problem


async def find_nothing() -> None:
    """For requests whose effect can't be found, and may happen twice without harm."""
    return


def build_key(key: str, generation: int) -> str:
    return f"{key}~{generation}" if generation else key
