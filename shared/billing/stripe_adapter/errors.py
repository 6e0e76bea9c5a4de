"""Stripe's errors translated to ours. Methods with `translate_stripe_errors` raise no exceptions of the SDK."""

import asyncio
import re
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from functools import wraps
from typing import Any, ParamSpec, TypeVar

import stripe

from shared.billing.provider import (
    MAX_CALL_S,
    KeyRefused,
    ProviderBusy,
    ProviderDown,
    ProviderRefused,
    RefusalKind,
)
from shared.billing.stripe_adapter.transport import read_retry_after
from shared.core import log

CARD_ERROR = (
    "card_error"  # the only type whose messages Stripe writes for customers: docs.stripe.com/api/errors
)
CODE_KINDS: dict[str | None, RefusalKind] = {  # https://docs.stripe.com/error-codes
    "customer_tax_location_invalid": "tax_location",
    "stripe_tax_inactive": "tax_setup",
    "tax_id_invalid": "tax_id",
}
# Parameters that name prices: price, line_items[0][price], items[1], subscription_details[items][0][price].
PRICE_PARAM = re.compile(r"(?:^|\[)price\]?$|^line_items(?:\[\d+\])?$|(?:^|\[)items\]?(?:\[\d+\])?$")
P = ParamSpec("P")
T = TypeVar("T")


def translate_stripe_errors(verb: Callable[P, Coroutine[Any, Any, T]]) -> Callable[P, Coroutine[Any, Any, T]]:
    """Translates errors and limits the call to MAX_CALL_S, including all pages and retries."""
    return _translate(verb, is_quoted=True)


def translate_errors_unquoted(
    verb: Callable[P, Coroutine[Any, Any, T]],
) -> Callable[P, Coroutine[Any, Any, T]]:
    """As `translate_stripe_errors`, without Stripe's message: it may quote the personal data that the call sends."""
    return _translate(verb, is_quoted=False)


def _translate(
    verb: Callable[P, Coroutine[Any, Any, T]], *, is_quoted: bool
) -> Callable[P, Coroutine[Any, Any, T]]:
    @wraps(verb)
    async def bounded(*args: P.args, **kwargs: P.kwargs) -> T:
        try:
            async with asyncio.timeout(MAX_CALL_S):
                return await verb(*args, **kwargs)
        except TimeoutError:
            raise ProviderDown("took too long") from None
        except stripe.StripeError as problem:
            raise _to_provider_error(problem, verb.__name__, is_quoted=is_quoted) from None
        except (AttributeError, KeyError, TypeError, ValueError) as problem:
            # A proxy that answers in another format, which raises such errors in the SDK.
            log.get_tenant_logger(__name__).error(
                "stripe_answer_unreadable", verb=verb.__name__, exc_info=problem
            )
            raise ProviderDown("sent an unreadable answer") from None

    return bounded


def is_missing(problem: stripe.StripeError) -> bool:
    return problem.code == "resource_missing"


def is_about_whole_account(problem: Exception) -> bool:
    """Whether further requests would fail too: no answer, a rejected key, too many requests."""
    status = problem.http_status if isinstance(problem, stripe.StripeError) else 0
    return status in (None, 401, 429)


def is_refusal(problem: stripe.StripeError) -> bool:
    """Whether Stripe refuses this request for good: the same one would be refused again."""
    status = problem.http_status
    # 409: another request holds the object. Only the stand-in sends 501, and retrying doesn't help.
    return (
        status is not None and (400 <= status < 500 or status == 501) and status not in (401, 403, 409, 429)
    )


@contextmanager
def tolerate_missing_right(subject: str) -> Iterator[None]:
    """Leaves the block where a restricted key lacks the right to read this subject, which a sync can do without.

    A key that may read nothing fails with the subjects that every sync needs.
    """
    try:
        yield
    except stripe.PermissionError as problem:
        log.get_tenant_logger(__name__).warning(
            "stripe_right_missing",
            subject=subject,
            said=problem.user_message,
            stripe_request=problem.request_id,
        )


def is_duplicate_usage(problem: stripe.StripeError) -> bool:
    """Whether Stripe already has usage with this identifier. Stripe reports that only in the message."""
    return "already exists with identifier" in (problem.user_message or "")


def is_duplicate_object(problem: stripe.StripeError) -> bool:
    return problem.code == "resource_already_exists"


def _to_provider_error(problem: stripe.StripeError, verb: str, *, is_quoted: bool) -> Exception:
    status, param = problem.http_status, _get_param(problem)
    # Without an error object, the SDK's message holds the whole answer.
    if is_quoted and (status is None or problem.error is not None):
        message = problem.user_message or "The request was declined."
    else:
        message = f"The request was declined because of {param}." if param else "The request was declined."
    log.get_tenant_logger(__name__).warning(
        "stripe_error",
        verb=verb,
        kind=type(problem).__name__,
        status=status,
        reason=problem.code,
        param=param,
        said=message,
        stripe_request=problem.request_id,
    )
    if isinstance(problem, stripe.RateLimitError):
        return ProviderBusy(read_retry_after(problem.headers or {}) or 1.0)
    if status in (401, 403):
        return KeyRefused(message)
    if not is_refusal(problem):
        return ProviderDown(message)
    return ProviderRefused(message, problem.code or "", kind=_get_refusal_kind(problem))


def _get_refusal_kind(problem: stripe.StripeError) -> RefusalKind:
    """By the fields of the error, because Stripe may change its sentences at any time."""
    error: Any = problem.error
    param = _get_param(problem)
    if getattr(error, "type", None) == CARD_ERROR:
        return "card"
    if problem.code in CODE_KINDS:
        return CODE_KINDS[problem.code]
    if param.startswith("automatic_tax"):
        return "tax_setup"
    if PRICE_PARAM.search(param):
        return "price"
    if is_missing(problem) and param in ("customer", "subscription"):
        return "customer" if param == "customer" else "subscription"
    return "other"


def _get_param(problem: stripe.StripeError) -> str:
    """The parameter that the error is about; "" without one."""
    error: Any = problem.error
    return str(getattr(error, "param", None) or "")
