"""What happened to the layers of a decision between two times: by whom, when, why, and where the trail says so.

Only what is known to bear on a layer is named. What the clock alone did (an end that was foreseen, a trial that ran
out) has nobody's name.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from shared.access.actions import Action
from shared.audit import trail
from shared.audit.models import AuditEvent
from shared.core.ctx import Ctx
from shared.entitlements import compiled, explain, holdings
from shared.entitlements.catalogue import Catalogue
from shared.entitlements.explain import Layer
from shared.entitlements.facts import Facts, History
from shared.entitlements.features import FEATURES
from shared.entitlements.limits import LIMITS
from shared.entitlements.models import TenantOverride, Valid
from shared.tenancy import roles
from shared.tenancy import why_repository as repository
from shared.tenancy.models import MembershipState

MOST = 5  # of one layer
NEAR = timedelta(seconds=30)  # a change and its line in the trail are written in one transaction
AT_ONCE = timedelta(seconds=2)  # a row that takes the place of another one
SEATS = {  # audit action: what it did to the seats; the name of whom follows from the event
    "invitation.created": "was invited",
    "invitation.revoked": "is not invited any more",
    "membership.deactivated": "was deactivated",
    "membership.reactivated": "was reactivated",
    "membership.removed": "was removed",
}


@dataclass(frozen=True, slots=True)
class Cause:
    source: str  # id of the row
    said: str  # a sentence
    at: datetime
    by: str = ""  # "" for the clock
    reason: str = ""
    request_id: str = ""  # of the line in the tenant's trail, "" where there is none


@dataclass(frozen=True, slots=True)
class Turn:
    """A cause without its line in the trail: `about` is the object of that line, "" for what no line tells of."""

    source: str
    said: str
    at: datetime
    by: str = ""
    reason: str = ""
    about: str = ""
    nouns: tuple[str, ...] = ()  # of actions that may be about it


@dataclass(frozen=True, slots=True)
class Between:
    """After `since`, up to and including `until`."""

    ctx: Ctx
    user_id: str
    action: Action
    since: datetime
    until: datetime
    history: History
    catalogue: Catalogue
    before: Facts

    async def of(self, layer: Layer) -> Sequence[Cause]:
        """Newest first."""
        turns = [turn for turn in await self._turns(layer) if self.since < turn.at <= self.until]
        turns.sort(key=lambda turn: turn.at, reverse=True)
        return [await self._told(turn) for turn in turns[:MOST]]

    async def _turns(self, layer: Layer) -> list[Turn]:
        if layer is Layer.PERMISSION:
            return await self._person()
        if layer is Layer.TENANT:
            return await self._tenant()
        if layer is Layer.BILLING:
            return self._billing()
        if layer is Layer.PLAN:
            return await self._plans()
        if layer is Layer.ADDONS:
            return self._addons()
        if layer is Layer.OVERRIDE:
            return self._overrides("feature", self.action.feature)
        if layer is Layer.TRIAL:
            return [*await self._plans(), *self._trials()]
        if layer is Layer.FLAG:
            return await self._flag()
        return await self._limit() if layer is Layer.LIMIT else []

    async def _person(self) -> list[Turn]:
        ever = await repository.list_memberships(self.ctx, self.user_id, self.until) if self.user_id else []
        known = await repository.get_person(self.ctx, self.user_id) if self.user_id else None
        if known is None:
            return []
        membership, user = known
        turns, last = [], ""
        for row in ever:
            said = f"{user.name} was {row.state}."
            if row.state == MembershipState.ACTIVE:
                role = await roles.name(self.ctx, row.role)
                said = f"{user.name} became {role}." if last else f"{user.name} joined as {role}."
            turns.append(
                Turn(
                    row.id, said, row.at, about=membership.id, nouns=("membership.", "ownership.", "tenant.")
                )
            )
            last = row.state
        keys = sorted({row.role for row in ever})
        changes = await repository.list_roles(self.ctx, keys, self.since, self.until, MOST)
        return [*turns, *(self._role(row.id, row.key, row.name, row.at, row.deleted) for row in changes)]

    def _role(self, id: str, key: str, name: str, at: datetime, deleted: bool) -> Turn:
        said = f"The role {name} was {'deleted' if deleted else 'written'}."
        return Turn(id, said, at, about=key, nouns=("role.",))

    async def _tenant(self) -> list[Turn]:
        rows = await repository.list_states(self.ctx, self.since, self.until, MOST)
        turns = [
            Turn(
                *(row.id, f"The organisation became {row.state.replace('_', ' ')}.", row.at),
                reason=row.reason,
                about=self.ctx.tenant_id,
                nouns=("tenant.",),
            )
            for row in rows
        ]
        known = await repository.get_person(self.ctx, self.user_id) if self.user_id else None
        if known is not None and (at := known[1].email_verified_at) is not None:
            turns.append(Turn(known[1].id, f"{known[1].name} verified their address.", at, by=known[1].name))
        return turns

    def _billing(self) -> list[Turn]:
        return [
            turn
            for row in self.history.billing
            for turn in _life(
                row, f"The billing status became {row.status.replace('_', '-')}", "", about=row.id
            )
        ]

    async def _plans(self) -> list[Turn]:
        turns = [
            turn
            for row in self.history.assigned
            for turn in _life(row, f"{self._offer(row.plan_version_id)} was assigned", "", about=row.id)
        ]
        for one in self.catalogue.by_plan.get(self.before.offer.plan_id, ()):
            if one.moves and one.number > self.before.offer.number and one.effective_at <= self.until:
                version = await repository.get_version(self.ctx, one.id)
                by, reason = (version.published_by, version.reason) if version else ("", "")
                turns.append(
                    Turn(one.id, f"{one.said} took the place of earlier ones.", one.effective_at, by, reason)
                )
        return turns

    def _trials(self) -> list[Turn]:
        return [
            Turn(row.id, f"The trial of {self._offer(row.plan_version_id)} ran out.", row.trial_ends_at)
            for row in self.history.assigned
            if row.trial_ends_at is not None
        ]

    def _addons(self, limit: str = "") -> list[Turn]:
        turns: list[Turn] = []
        for row in self.history.addons:
            addon = self.catalogue.moved(row.plan_version_id, self.until)
            if (limit and limit in addon.limits) or (not limit and self.action.feature in addon.features):
                turns += _life(row, f"{addon.said} was added", f"{addon.said} ended", about=row.id)
        return turns

    def _overrides(self, target: str, name: str) -> list[Turn]:
        title = FEATURES[name].title if target == "feature" and name else ""
        title = LIMITS[name].title if target == "limit" else title
        return [
            turn
            for row in self.history.overrides
            if (row.target, row.name) == (target, name)
            for turn in _life(
                row, f"{title} was set to {_value(row)}", f"The override of {title} ended", about=row.id
            )
        ]

    async def _flag(self) -> list[Turn]:
        flag, rollout = self.action.flag, self.catalogue.flags.get(self.action.flag)
        turns = [
            turn
            for row in self.history.flags
            if row.flag == flag
            for turn in _life(
                row,
                f"{flag} was switched {'on' if row.enabled else 'off'} for this tenant",
                f"This tenant's own word on {flag} was taken back",
                about=flag,
                nouns=("flag.",),
            )
        ]
        turns += [
            turn
            for row in self.history.traits
            for turn in _life(
                row, f"{row.name} became {row.value}", f"{row.name} was taken back", about=row.name
            )
        ]
        for version in rollout.versions if rollout else ():
            said = f"The rules of {flag} became version {version.number}."
            said = f"The kill switch of {flag} was pulled." if version.killed else said
            turns.append(Turn(version.id, said, version.created_at, version.created_by, version.reason))
        needed = rollout.row.required_feature if rollout else ""
        if needed:
            turns += [*await self._plans(), *self._trials(), *self._overrides("feature", needed)]
        return _replaced(turns)

    async def _limit(self) -> list[Turn]:
        name = self.action.limit
        turns = [*await self._plans(), *self._addons(name), *self._overrides("limit", name)]
        turns += [*self._trials(), *(turn for turn in self._billing() if turn.said.endswith("became none."))]
        if name == "members":
            turns += await self._seats()
        elif name == "roles":
            rows = await repository.list_roles(self.ctx, None, self.since, self.until, MOST)
            turns += [self._role(row.id, row.key, row.name, row.at, row.deleted) for row in rows]
        return turns

    async def _seats(self) -> list[Turn]:
        turns = []
        for action, did in SEATS.items():
            wanted = trail.Filter(action=action, since=self.since, until=self.until + NEAR)
            page = await trail.list_events(self.ctx, wanted, limit=MOST)
            for event in page.events:
                who = _whom(event)
                if event.at is not None:
                    turns.append(
                        Turn(
                            *(event.id, f"{who} {did}.", event.at, event.actor_name, event.reason),
                            about=event.object_id,
                            nouns=(action,),
                        )
                    )
        return turns

    def _offer(self, version_id: str) -> str:
        return self.catalogue.offers[version_id].said

    async def _told(self, turn: Turn) -> Cause:
        event = await self._event(turn) if turn.about else None
        by, reason, request = turn.by, turn.reason, ""
        if event is not None:
            by, reason, request = by or event.actor_name, reason or event.reason, event.request_id
        return Cause(turn.source, turn.said, turn.at, by, reason, request)

    async def _event(self, turn: Turn) -> AuditEvent | None:
        """The line of the trail that was written with it: of the same object, and nearest in time."""
        wanted = trail.Filter(object_id=turn.about, since=turn.at - NEAR, until=turn.at + NEAR)
        page = await trail.list_events(self.ctx, wanted, limit=MOST)
        near = [
            (abs(event.at - turn.at), event)
            for event in page.events
            if event.at is not None and (not turn.nouns or event.action.startswith(turn.nouns))
        ]
        return min(near, key=lambda one: one[0])[1] if near else None


async def read(ctx: Ctx, user_id: str, action: Action, since: datetime, until: datetime) -> Between:
    """For services that were asked for their right."""
    history, catalogue = await holdings.history(ctx)
    return Between(ctx, user_id, action, since, until, history, catalogue, history.at(catalogue, since))


def _life(row: Valid, begins: str, ends: str, *, about: str, nouns: tuple[str, ...] = ()) -> Iterable[Turn]:
    """How a row began and, where that is told apart from what came next, how it ended. `ends`: "" where it is not."""
    yield Turn(row.id, f"{begins}.", row.starts_at, row.by_name, row.reason, about, nouns)
    if not ends:
        return
    if row.closed_at is not None and (row.ends_at is None or row.closed_at < row.ends_at):
        yield Turn(row.id, f"{ends} early.", row.closed_at, row.closed_by, "", about, nouns)
    elif row.ends_at is not None:
        yield Turn(row.id, f"{ends} as foreseen.", row.ends_at)


def _replaced(turns: Sequence[Turn]) -> list[Turn]:
    """Without ends that were no end: another row of the same object began at once."""
    return [turn for turn in turns if not (turn.said.endswith(" early.") and _begins_at_once(turn, turns))]


def _begins_at_once(turn: Turn, turns: Sequence[Turn]) -> bool:
    return any(
        (other.about, other.source == turn.source) == (turn.about, False)
        and timedelta() <= other.at - turn.at <= AT_ONCE
        for other in turns
    )


def _value(row: TenantOverride) -> str:
    if row.target == "limit":
        return explain.amount(compiled.overridden(row), row.name)
    return "on" if row.value else "off"


def _whom(event: AuditEvent) -> str:
    for side in (event.details, event.after, event.before):
        for key in ("member", "email"):
            if side.get(key):
                return str(side[key])
    return "Somebody"
