"""Errors as problem details."""

import pytest

from shared.core import errors
from shared.core.errors import Conflict, DomainError, Invalid, NotFound, NotSignedIn, Refused

KINDS = {NotSignedIn: 401, Refused: 403, NotFound: 404, Conflict: 409, Invalid: 422}


@pytest.mark.parametrize("kind", KINDS)
def test_error_has_every_field_of_a_problem(kind: type[DomainError]) -> None:
    problem = kind("It did not work.", "Try again.").problem_details("req_1")
    assert set(problem) == {"type", "title", "status", "reason", "detail", "next_step", "request_id"}
    assert (problem["status"], problem["request_id"]) == (KINDS[kind], "req_1")
    assert (problem["detail"], problem["next_step"]) == ("It did not work.", "Try again.")
    assert problem["reason"]


@pytest.mark.parametrize("reason", errors.STATUS_BY_REASON)
def test_refusal_has_its_own_status_for_payment_rate_limits_and_outages(reason: str) -> None:
    statuses = {
        "queue_full": 429,
        "rate_limited": 429,
        "tenant_busy": 429,
        "tenant_throttled": 429,
        "unavailable": 503,
    }
    assert Refused("x", reason=reason).http_status == statuses.get(reason, 402)


def test_missing_tenant_is_not_an_error_for_people() -> None:
    assert not issubclass(errors.NoTenant, DomainError)
