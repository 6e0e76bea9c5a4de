"""Refusals as machines and people read them."""

import pytest

from shared.core import errors
from shared.core.errors import Conflict, DomainError, Invalid, NotFound, NotSignedIn, Refused

KINDS = {NotSignedIn: 401, Refused: 403, NotFound: 404, Conflict: 409, Invalid: 422}


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_says_what_happened_and_what_to_do(kind: type[DomainError]) -> None:
    problem = kind("It did not work.", "Try again.").problem_details("req_1")
    assert set(problem) == {"type", "title", "status", "reason", "detail", "next_step", "request_id"}
    assert (problem["status"], problem["request_id"]) == (KINDS[kind], "req_1")
    assert (problem["detail"], problem["next_step"]) == ("It did not work.", "Try again.")
    assert problem["reason"]


@pytest.mark.parametrize("reason", errors.STATUS_BY_REASON)
def test_paying_and_waiting_have_statuses_of_their_own(reason: str) -> None:
    assert Refused("x", reason=reason).http_status == (429 if reason == "rate_limited" else 402)


def test_no_tenant_is_a_bug_and_never_shown() -> None:
    assert not issubclass(errors.NoTenant, DomainError)
