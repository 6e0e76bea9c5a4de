"""What a change of rights comes to: who gains, who loses, who is over a limit then, which decisions would flip.

Pure: it is told of each tenant what it may use without the change and with it. What the change is (a plan, an add-on, a
flag, an override) and where the facts come from, others know (`tenancy.blast_radius`).
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from shared.access.actions import ACTIONS, Action
from shared.access.decision import Decision, decide
from shared.access.permissions import Permission
from shared.access.reasons import ALLOWING, Reason
from shared.core.ctx import Limit, Rights
from shared.entitlements.features import FEATURES
from shared.entitlements.limits import LIMITS

NAMED = 50  # tenants that a line names; how many there are it always says
EVERYTHING = frozenset[str](Permission)
# Refused before the tenant was asked, or for what the object was: no plan would have changed that.
NOT_THE_TENANTS = frozenset({Reason.MISSING_PERMISSION.value, Reason.OBJECT_STATE.value})
REASONS = frozenset(reason.value for reason in Reason) - NOT_THE_TENANTS


@dataclass(frozen=True, slots=True)
class Asked:
    """Decisions of one tenant that were counted (`access.evidence`)."""

    action: str
    reason: str
    count: int


@dataclass(frozen=True, slots=True)
class Case:
    """One tenant without the change and with it."""

    tenant_id: str
    name: str
    before: Rights
    after: Rights
    used: Mapping[str, int] = field(default_factory=dict)  # by limit; of what can be counted
    asked: Sequence[Asked] = ()


@dataclass(frozen=True, slots=True)
class Named:
    id: str
    name: str
    used: int = 0  # of the limit, where the line is about one that is exceeded


@dataclass(slots=True)
class Shift:
    """Tenants for whom the same feature or limit changes in the same way."""

    target: str  # "feature" or "limit"
    name: str
    before: Limit | None = None  # of a limit
    after: Limit | None = None
    total: int = 0
    tenants: list[Named] = field(default_factory=list)  # the first of them, by name

    def add(self, one: Named) -> None:
        self.total += 1
        if len(self.tenants) < NAMED:
            self.tenants.append(one)


@dataclass(slots=True)
class Flip:
    """Decisions that were made the one way and would be made the other way now."""

    action: str
    reason: str  # of the refusal: the one that would be, or the one that was
    allowed: bool  # what it would be
    decisions: int = 0
    total: int = 0  # tenants
    tenants: list[Named] = field(default_factory=list)


@dataclass(slots=True)
class Report:
    """Largest first."""

    looked_at: int = 0
    gaining: int = 0  # tenants; one may gain something and lose something else
    losing: int = 0
    exceeding: int = 0
    to_refused: int = 0  # decisions
    to_allowed: int = 0
    gains: list[Shift] = field(default_factory=list)
    losses: list[Shift] = field(default_factory=list)
    over: list[Shift] = field(default_factory=list)
    flips: list[Flip] = field(default_factory=list)

    @property
    def nobody(self) -> bool:
        return not (self.gains or self.losses or self.over or self.flips)

    @property
    def numbers(self) -> dict[str, int]:
        """For the trail."""
        return {
            "tenants_looked_at": self.looked_at,
            "tenants_gaining": self.gaining,
            "tenants_losing": self.losing,
            "tenants_going_over_a_limit": self.exceeding,
            "decisions_that_would_be_refused": self.to_refused,
            "decisions_that_would_be_allowed": self.to_allowed,
        }


class Comparison:
    """Told of one tenant after the other, by name: whoever has ten thousand may pause in between."""

    def __init__(self) -> None:
        self._report = Report()
        self._gains: dict[object, Shift] = {}
        self._losses: dict[object, Shift] = {}
        self._over: dict[object, Shift] = {}
        self._flips: dict[tuple[str, str, bool], Flip] = {}

    def add(self, case: Case) -> None:
        report = self._report
        report.looked_at += 1
        if (
            case.before is case.after
            or (case.before.features == case.after.features and case.before.limits == case.after.limits)
        ) and case.before.verdicts == case.after.verdicts:
            return
        who = Named(case.tenant_id, case.name)
        gained = _put(self._gains, who, _shifts(case.before, case.after, better=True))
        lost = _put(self._losses, who, _shifts(case.before, case.after, better=False))
        exceeded = 0
        for name, used in case.used.items():
            before, after = case.before.limits[name], case.after.limits[name]
            if _exceeds(used, after) and not _exceeds(used, before):
                exceeded += 1
                shift = self._over.setdefault(
                    (name, before, after), Shift("limit", name, before=before, after=after)
                )
                shift.add(Named(case.tenant_id, case.name, used))
        report.gaining += gained > 0
        report.losing += lost > 0
        report.exceeding += exceeded > 0
        self._count_flips(case, who)

    def _count_flips(self, case: Case, who: Named) -> None:
        told: set[tuple[str, str, bool]] = set()
        for asked in case.asked:
            flipped = flip(case, asked)
            if flipped is None:
                continue
            reason, allowed = flipped
            key = (asked.action, reason, allowed)
            line = self._flips.setdefault(key, Flip(*key))
            line.decisions += asked.count
            if allowed:
                self._report.to_allowed += asked.count
            else:
                self._report.to_refused += asked.count
            if key not in told:
                told.add(key)
                line.total += 1
                if len(line.tenants) < NAMED:
                    line.tenants.append(who)

    def report(self) -> Report:
        report = self._report
        report.gains, report.losses, report.over = (
            sorted(found.values(), key=lambda one: (-one.total, one.target, one.name))
            for found in (self._gains, self._losses, self._over)
        )
        report.flips = sorted(self._flips.values(), key=lambda one: (one.allowed, -one.decisions, one.action))
        return report


def compare(cases: Iterable[Case]) -> Report:
    """`cases` by name: a line names the first tenants that it is about."""
    comparison = Comparison()
    for case in cases:
        comparison.add(case)
    return comparison.report()


def flip(case: Case, asked: Asked) -> tuple[str, bool] | None:
    """The reason of the refusal, and whether it would be allowed now; None for a decision that stays what it was.

    The decision is made again as things are now, without the change and with it. Only where it is still what was
    counted, and the change turns it, the change is the cause.
    """
    action = ACTIONS.get(asked.action)
    if action is None or asked.reason not in REASONS:
        return None
    used = case.used.get(action.limit) if action.limit else None
    before, after = again(case.before, action, used), again(case.after, action, used)
    was = Reason(asked.reason) in ALLOWING
    if was != before.allowed or before.allowed == after.allowed:
        return None
    return (before.reason.value, True) if after.allowed else (after.reason.value, False)


@dataclass(frozen=True, slots=True)
class Anybody:
    """With every permission: what is asked here is the tenant's side."""

    rights: Rights
    permissions: frozenset[str] = EVERYTHING


def again(rights: Rights, action: Action, used: int | None) -> Decision:
    return decide(Anybody(rights), action, used=used)


def _put(found: dict[object, Shift], who: Named, shifts: Iterator[Shift]) -> int:
    count = 0
    for shift in shifts:
        count += 1
        found.setdefault((shift.target, shift.name, shift.before, shift.after), shift).add(who)
    return count


def _shifts(before: Rights, after: Rights, *, better: bool) -> Iterator[Shift]:
    one, other = (after, before) if better else (before, after)
    for name in FEATURES:
        if name in one.features and name not in other.features:
            yield Shift("feature", name)
    for name in LIMITS:
        was, becomes = before.limits[name], after.limits[name]
        if was != becomes and (_room(becomes) > _room(was)) is better:
            yield Shift("limit", name, before=was, after=becomes)


def _room(limit: Limit) -> tuple[float, bool]:
    """More is better, and of the same amount the one that only warns. Unlimited is unlimited."""
    return (float("inf"), True) if limit.amount is None else (limit.amount, not limit.hard)


def _exceeds(used: int, limit: Limit) -> bool:
    return limit.amount is not None and used > limit.amount
