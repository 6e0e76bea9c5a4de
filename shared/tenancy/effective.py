"""What a tenant may use now, where each of it comes from, how much is taken, and what time alone will change.

The same chains as operators see (`tenancy.desk`), in the tenant's own page.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import pairwise

from shared.access import actions, policy
from shared.core.ctx import Ctx
from shared.entitlements import explain, holdings
from shared.entitlements.catalogue import Catalogue
from shared.entitlements.explain import FeatureChain, LimitChain
from shared.entitlements.facts import Facts
from shared.entitlements.features import FEATURES
from shared.entitlements.limits import LIMITS
from shared.tenancy import desk, repository

MOST = 24  # turns of the clock that are looked at


@dataclass(frozen=True, slots=True)
class Turn:
    """What changes at a time without anybody doing anything."""

    at: datetime
    what: str
    before: str
    after: str


@dataclass(frozen=True, slots=True)
class Access:
    plan: str  # name and version
    plan_since: datetime | None  # None: nobody gave it one
    billing_status: str
    billing_since: datetime | None
    billing_until: datetime | None  # when another status follows by itself
    trial_ends_at: datetime | None
    trial_ended: bool
    features: dict[str, FeatureChain]
    limits: dict[str, LimitChain]
    used: dict[str, int]  # of the limits whose use is counted
    turns: Sequence[Turn]


async def read(ctx: Ctx) -> Access:
    policy.require(ctx, actions.ACCESS_READ)
    ahead, catalogue = await holdings.facts_ahead(ctx, MOST)
    facts = ahead[0]
    found = desk.effective_of(facts, catalogue)
    statuses = (later.at for later in ahead if later.billing_status != facts.billing_status)
    return Access(
        facts.offer.said,
        facts.assigned.starts_at if facts.assigned else None,
        facts.billing_status,
        facts.billing.starts_at if facts.billing else None,
        next(statuses, None),
        facts.trial_ends_at,
        facts.trial_ended,
        found.features,
        found.limits,
        {
            "members": len(await repository.list_seats(ctx)),
            "roles": len(await repository.list_own_roles(ctx)),
        },
        [turn for before, after in pairwise(ahead) for turn in turns(before, after, catalogue)],
    )


def turns(before: Facts, after: Facts, catalogue: Catalogue) -> list[Turn]:
    """What is another answer at the later time; a turn of the clock that changes none is none."""
    said = [
        ("Plan", before.offer.said, after.offer.said),
        ("Billing", STATUS[before.billing_status], STATUS[after.billing_status]),
        ("Trial", _trial(before), _trial(after)),
    ]
    for name, feature in FEATURES.items():
        one, other = (explain.feature_chain(at, catalogue, name).has for at in (before, after))
        said.append((feature.title, INCLUDED[one], INCLUDED[other]))
    for name, kind in LIMITS.items():
        one_, other_ = (explain.limit_chain(at, catalogue, name).limit for at in (before, after))
        said.append((kind.title, explain.amount(one_, name), explain.amount(other_, name)))
    return [Turn(after.at, what, one, other) for what, one, other in said if one != other]


STATUS = {
    "active": "Nothing is owed",
    "grace": "A payment is overdue",
    "none": "Nothing is paid",
    "read_only": "Read-only",
}
INCLUDED = {True: "Included", False: "Not included"}


def _trial(facts: Facts) -> str:
    if facts.trial_ends_at is None:
        return "No trial"
    return "Ended" if facts.trial_ended else "Running"
