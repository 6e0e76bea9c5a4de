"""Which tenants, plans and flags fail while the others work: from the traffic of the last minutes."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from shared.core.traffic import LATENCY_LIMITS_MS, OTHER, Dimension, Tally

Traffic = Mapping[tuple[Dimension, str], Tally]
MIN_REQUESTS, MIN_ERRORS = 20, 5  # fewer say nothing
FAILING_SHARE = 0.05  # of requests that end in an unexpected error
FAILING_TENANT_SHARE = 0.2
TIMES_WORSE = 3  # a cohort is compared with all that is not in it


@dataclass(frozen=True, slots=True, kw_only=True)
class FailingCohort:
    value: str  # id of a tenant, key of a plan or flag
    requests: int
    errors: int
    others_share: float  # of errors among all others


def get_total(traffic: Traffic) -> Tally:
    return traffic.get((Dimension.ALL, ""), Tally())


def compute_error_share(tally: Tally) -> float:
    return tally.errors / tally.requests if tally.requests else 0.0


def find_failing(traffic: Traffic, dimension: Dimension) -> Sequence[FailingCohort]:
    """Cohorts that fail clearly more often than everything that is not in them, those with most errors first."""
    total = get_total(traffic)
    threshold = FAILING_TENANT_SHARE if dimension is Dimension.TENANT else FAILING_SHARE
    failing = []
    for (kind, value), tally in traffic.items():
        if kind is not dimension or value == OTHER or tally.errors < MIN_ERRORS:
            continue
        others = Tally(max(0, total.requests - tally.requests), max(0, total.errors - tally.errors))
        others_share = compute_error_share(others)
        is_failing = tally.requests >= MIN_REQUESTS and compute_error_share(tally) >= threshold
        if is_failing and compute_error_share(tally) >= TIMES_WORSE * others_share:
            failing.append(
                FailingCohort(
                    value=value, requests=tally.requests, errors=tally.errors, others_share=others_share
                )
            )
    return sorted(failing, key=lambda cohort: (-cohort.errors, cohort.value))


def compute_p95_ms(tally: Tally) -> int | None:
    """The upper end of the bucket that has it, in milliseconds; None without requests. The last bucket counts double."""
    needed, seen = tally.requests * 0.95, 0
    if not tally.requests:
        return None
    for limit, count in zip((*LATENCY_LIMITS_MS, 2 * LATENCY_LIMITS_MS[-1]), tally.latency, strict=True):
        seen += count
        if seen >= needed:
            return limit
    return 2 * LATENCY_LIMITS_MS[-1]
