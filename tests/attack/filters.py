"""The filters in our own code, with the policies of the database out of the way.

Row security hides a forgotten filter, so that nobody would notice until the day a policy is missing. Three rounds:
as deployed, without policies, and without policies and without the filter of the session as well. The first names
what Acme gets; the others must give the same, touch nothing of Globex and show none of its words.

The third round proves something only where a row of Globex is kept away by nothing but a filter. So it watches every
filter, and reports those without such a row by name: the world lacks a row, or a call an argument.
"""

import math
from collections.abc import Awaitable, Callable, Collection, Iterator
from contextlib import contextmanager
from datetime import timedelta
from functools import partial
from typing import Any

import sqlalchemy as sa
from psycopg import sql
from sqlalchemy import event
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session, aliased
from sqlmodel import col, select

from shared.access import decision_counts, decision_counts_repository, decision_records
from shared.audit import attempts
from shared.backoffice import adjustments_repository, key_renewal_repository, unbilled_usage_repository
from shared.billing import usage_periods, usage_repository
from shared.billing.models import PLATFORM, BillingDispute, BillingRefund, BillingUsage, PrepaidGrant, TopUp
from shared.billing.prepaid import prepaid_repository, top_ups_repository
from shared.core import db, rate_limits, request_ids
from shared.core.db import TenantRow, now
from shared.core.errors import NoTenant, NotFound
from shared.core.ids import new_id
from shared.entitlements import rights_cache
from shared.identity.models import User
from shared.tenancy import (
    authentication,
    digest_repository,
    entry,
    entry_repository,
    impersonation_repository,
    mail_preference_repository,
    members,
    notification_repository,
    user_tenants,
)
from shared.tenancy.admissions import OperatorAdmission, TenantAdmission
from shared.tenancy.models import ImpersonationRow, MailPreference, Notification, NotificationDigest
from tests.attack import calls, mutants
from tests.attack.calls import Call
from tests.attack.mutants import Mutants
from tests.attack.report import Report
from tests.attack.services import outcome, undone
from tests.attack.variety import some
from tests.attack.world import World
from tests.support import database_catalog

KIND = "filters"
DAY = timedelta(days=1)
DEPLOYED, WITHOUT_POLICIES, ALONE = "as deployed", "without policies", "by our statements alone"
Seen = dict[str, str]  # call: what it gave
Doubts = list[tuple[str, str, str]]  # call, the name of its answer, in which round it was another one
Probe = tuple[str, Callable[[], Awaitable[None]]]  # its name; a part of the attack that can be run by itself


async def attack(world: World, report: Report) -> dict[str, set[str]]:
    """Gives for every filter of a repository the names of the probes that execute it."""
    with without_decision_counts(), world.keeping_rows():
        return await _attack(world, report)


@contextmanager
def without_decision_counts() -> Iterator[None]:
    """What is refused here is not written beside what is compared."""
    every, decision_counts.WRITE_INTERVAL = decision_counts.WRITE_INTERVAL, math.inf
    build_refused, may_record = decision_records.build_refused, attempts._may_record
    decision_records.build_refused = lambda *_, **__: None  # type: ignore[assignment]
    attempts._may_record = lambda _: False
    try:
        yield
    finally:
        decision_counts.WRITE_INTERVAL = every
        decision_records.build_refused = build_refused
        attempts._may_record = may_record


async def _attack(world: World, report: Report) -> dict[str, set[str]]:
    deployed = await call_as_deployed(world, report)
    doubts: Doubts = []
    with without_policies(world):
        await attack_session_filter(world, report)
        await attack_entry(world, report, WITHOUT_POLICIES)
        probes = await _comparisons(deployed, {}, world, report, WITHOUT_POLICIES, doubts)
        for _, probe in some(probes, len(probes) // 4, of="calls without policies"):
            await probe()
        with without_session_filter(), mutants.marked() as marked:
            await attack_own_filters(deployed, world, report, marked, doubts=doubts)
            for name, reason in marked.blind().items():
                report.unknown(KIND, f"{name}: {reason}")
    await _judge_doubts(doubts, deployed, world, report)
    return marked.executed_by


async def _judge_doubts(doubts: Doubts, deployed: Seen, world: World, report: Report) -> None:
    """Only what gives the same twice as deployed can be compared. The rest holds a time or an id of its own, and was searched for words."""
    again = await call_as_deployed(world, report, {call for call, _, _ in doubts})
    for _, name, how in doubts:
        if again.get(name) == deployed[name]:
            report.attempt(KIND, f"{name} {how} gives something else", refused=False)


async def attack_own_filters(
    deployed: Seen,
    world: World,
    report: Report,
    marked: Mutants,
    only: Collection[str] | None = None,
    doubts: Doubts | None = None,
) -> Seen:
    """Only the filters in our own statements are left. Gives what every call gave.

    `only`: names of probes, one after another until something is noticed; None for all, to the end. `doubts`: gets what
    differs from `deployed`; without it that is reported.
    """
    seen: Seen = {}
    probes: list[Probe] = [
        ("entry", partial(attack_entry, world, report, ALONE)),
        ("memberships of a person", partial(attack_memberships_of_a_person, world, report)),
        ("visits", partial(attack_visits, world, report)),
        ("deletion of counts", partial(attack_deletion_of_counts, world, report)),
        ("usage reports", partial(attack_usage_reports, world, report)),
        ("unbilled usage", partial(attack_unbilled_usage, world, report)),
        ("refunds", partial(attack_refunds, world, report)),
        ("prepaid credits", partial(attack_prepaid_credits, world, report)),
        ("key renewal", partial(attack_key_renewal, world, report)),
        ("sorted members", partial(attack_sorted_members, world, report)),
        ("requesters of jobs", partial(attack_requesters, world, report)),
        ("notifications", partial(attack_notifications, world, report)),
        ("support sessions", partial(attack_support_sessions, world, report)),
        *await _comparisons(deployed, seen, world, report, ALONE, doubts),
    ]
    for name, probe in probes:
        if only is not None and (name not in only or report.bad):
            continue
        rights_cache.invalidate()  # what is kept in memory would hide a statement, or outlive the mutant that read it
        with marked.watched(name):
            await _run(name, probe, report, marked)
    rights_cache.invalidate()
    return seen


async def _run(name: str, probe: Callable[[], Awaitable[None]], report: Report, marked: Mutants) -> None:
    """Without a filter it may break instead of giving too much, such as where two rows come for one."""
    try:
        await probe()
    except Exception as problem:
        if not marked.removed:
            raise
        report.control(KIND, f"{name}: {type(problem).__name__}", works=False)


async def attack_memberships_of_a_person(world: World, report: Report) -> None:
    """What signing up and verifying ask: where somebody belongs, by a list that names other people's places too."""
    async with undone(db.transaction(user_id=world.bea.user.id)) as session:
        standings = await user_tenants.list_memberships(session, world.bea.user.id)
        memberships = sorted((membership.user_id, tenant.id) for membership, tenant in standings)
    expected = sorted((world.bea.user.id, tenant) for tenant in (world.acme, world.globex))
    report.attempt(KIND, "somebody else's membership among one's own", refused=memberships == expected)


async def attack_deletion_of_counts(world: World, report: Report) -> None:
    """What is old goes with every write, and only of the tenant whose it is."""
    async with undone(db.transaction(tenant_id=world.acme)) as session:
        before = await _digest(session, world)
        await decision_counts_repository.delete_counts(session, world.acme, now())
        refused = before == await _digest(session, world)
    report.attempt(KIND, "decisions of Acme forgotten, and Globex' too", refused=refused)


async def attack_requesters(world: World, report: Report) -> None:
    """A job of Acme works for members and keys of Acme alone."""
    account_id = world.claims("service_account_id", world.globex)[0]
    keys_of_bea = {
        tenant: next(
            row["id"]
            for row in world.rows("api_key", "tenant_id", tenant)
            if row["user_id"] == world.bea.user.id
        )
        for tenant in (world.acme, world.globex)
    }
    async with undone(db.transaction(tenant_id=world.acme)) as session:
        for name, holder_id in (("Gil", world.gil.user.id), ("a service account", account_id)):
            requester = await entry_repository.find_requester(session, world.acme, holder_id, "")
            report.attempt(KIND, f"a job of Acme for {name} of Globex", refused=requester is None)
        scopes = {}
        for tenant, key_id in keys_of_bea.items():
            requester = await entry_repository.find_requester(session, world.acme, world.bea.user.id, key_id)
            scopes[tenant] = requester.scopes if requester is not None else None
    report.attempt(KIND, "a job of Acme with a key of Globex", refused=scopes[world.globex] is None)
    report.control(KIND, "a job of Acme with its key", works=scopes[world.acme] is not None)


async def attack_notifications(world: World, report: Report) -> None:
    """What one person chose, is told and stops is that of one organisation, and of nobody else there."""
    person_id, due_at, digest_id = world.bea.user.id, now(), new_id("dig")
    async with undone(entry.enter_tenant(world.ann.cookie, world.acme_slug)) as ctx:
        session, connection = ctx.session, await ctx.session.connection()
        for tenant_id, user_id in ((world.globex, person_id), (world.acme, world.ann.user.id)):
            shared = {"tenant_id": tenant_id, "user_id": user_id}
            preference = {"id": new_id("mch"), "kind": "members", "enabled": True, "digest": True}
            notification = {"id": new_id("ntf"), "kind": "x", "title": "x", "body": "", "dedupe": digest_id}
            await connection.execute(sa.insert(MailPreference).values(**shared, **preference))
            await connection.execute(
                sa.insert(Notification).values(**shared, **notification, digest_id=digest_id)
            )
            digest = {"id": digest_id, "due_at": due_at}
            await connection.execute(sa.insert(NotificationDigest).values(**shared, **digest))
        before = await _digest(session, world)
        chosen = await mail_preference_repository.find_mail_preference(ctx, person_id, "members")
        report.attempt(KIND, "a choice in Globex holds in Acme", refused=chosen is None)
        choices = await mail_preference_repository.list_mail_preferences(ctx, person_id)
        report.attempt(KIND, "choices in Globex among those in Acme", refused="members" not in choices)
        await mail_preference_repository.set_digest_enabled(session, world.acme, person_id, enabled=False)
        await notification_repository.mark_all_read(ctx, person_id)
        report.attempt(
            KIND, "mails of Globex stopped in Acme", refused=before == await _digest(session, world)
        )
        own_choice = await mail_preference_repository.find_mail_preference(ctx, world.ann.user.id, "members")
        report.attempt(
            KIND, "mails of a colleague stopped", refused=own_choice is not None and own_choice.enabled
        )
        own = NotificationDigest(tenant_id=world.acme, id=digest_id, user_id=person_id, due_at=due_at)
        listed = await digest_repository.list_notifications(ctx, own, 10)
        report.attempt(KIND, "what Globex and a colleague are told, in a digest of Acme", refused=not listed)
        await digest_repository.add_digest(ctx, person_id, due_at)
        shared_digest = await digest_repository.share_digest(ctx, person_id, due_at)
        report.attempt(KIND, "a digest of Globex in Acme", refused=shared_digest.tenant_id == world.acme)


async def attack_support_sessions(world: World, report: Report) -> None:
    """Codes, cookies and numbers of support sessions are those of one tenant."""
    others = world.rows("impersonation", "tenant_id", world.globex)
    token_hash = next(row["token_hash"] for row in others if row["token_hash"])
    async with undone(entry.enter_tenant(world.ann.cookie, world.acme_slug)) as ctx:
        is_other = col(ImpersonationRow.tenant_id) == world.globex
        await ctx.session.exec(sa.update(ImpersonationRow).where(is_other).values(code_hash="attack"))
        by_token = await impersonation_repository.find_by_token(ctx.session, world.acme, token_hash)
        by_code = await impersonation_repository.find_by_code(ctx.session, world.acme, "attack")
        report.attempt(KIND, "a support session of Globex in Acme", refused=by_token is by_code is None)
        waiting = await impersonation_repository.count_pending(ctx, others[0]["operator_id"], now() - DAY)
        report.attempt(KIND, "requests of support to Globex among those to Acme", refused=waiting == 1)
        counts = await impersonation_repository.count_events(ctx, [row["id"] for row in others])
        report.attempt(KIND, "what support saw of Globex, in Acme", refused=counts == {})


async def attack_sorted_members(world: World, report: Report) -> None:
    """Members by role read the roles of a tenant first."""
    own_ids = set(world.claims("membership_id", world.acme))
    async with undone(entry.enter_tenant(world.ann.cookie, world.acme_slug)) as ctx:
        page = await members.list_members(ctx, sort="role", limit=100)
    listed_ids = [member.id for member in page.rows]
    refused = set(listed_ids) <= own_ids and len(set(listed_ids)) == len(listed_ids)
    report.attempt(KIND, "members of Acme by role, and roles of Globex", refused=refused)


async def attack_key_renewal(world: World, report: Report) -> None:
    """New data keys seal the values of one tenant."""
    own_logos = [bytes(row["logo"]) for row in world.rows("tenant_settings", "tenant_id", world.acme)]
    resealed = list[bytes]()

    def reseal(value: bytes, _: str) -> bytes:  # ids don't tell: settings have the same one in every tenant
        resealed.append(value)
        return value

    async with undone(db.transaction(tenant_id=world.acme)) as session:
        await key_renewal_repository.reseal_column(session, world.acme, "tenant_settings", "logo", reseal)
    report.attempt(KIND, "what Globex has sealed, sealed for Acme", refused=resealed == own_logos)


async def attack_usage_reports(world: World, report: Report) -> None:
    """What was used is sent for one tenant at a time."""
    long_ago = now() - 3 * DAY
    (own_id,), (other_id,) = (
        [row["id"] for row in world.rows("billing_usage", "tenant_id", tenant)]
        for tenant in (world.acme, world.globex)
    )
    async with undone(db.transaction(tenant_id=world.acme)) as session:
        await session.exec(sa.update(BillingUsage).values(tried_at=None, reported_at=None))
        waiting = await usage_repository.lock_unreported(
            session, world.acme, tried_after=long_ago, live_meters=(), limit=100
        )
        refused = [row.id for row in waiting] == [own_id]
        report.attempt(KIND, "usage of Globex is sent for Acme", refused=refused)
        before = await _digest(session, world)
        await usage_repository.set_problem(session, world.acme, [other_id], usage_periods.REFUSED)
        refused = before == await _digest(session, world)
        report.attempt(KIND, "usage of Globex is refused for Acme", refused=refused)
        subscriptions = await usage_repository.list_subscriptions(session, world.acme)
        refused = {row.tenant_id for row in subscriptions} == {world.acme}
        report.attempt(KIND, "subscriptions of Globex bill usage of Acme", refused=refused)
        customer_ids = {
            tenant: world.claims("customer_id", tenant)[0] for tenant in (world.acme, world.globex)
        }
        current = [
            await usage_repository.is_current_customer(session, world.acme, PLATFORM, customer_ids[tenant])
            for tenant in (world.acme, world.globex)
        ]
        report.attempt(KIND, "a customer of Globex is one of Acme", refused=current == [True, False])
        await usage_repository.mark_reported(session, world.acme, [other_id], now())
        refused = before == await _digest(session, world)
        report.attempt(KIND, "usage of Globex has arrived for Acme", refused=refused)
    async with undone(db.transaction(tenant_id=world.acme)) as session:
        doubtful = {BillingUsage.tried_at: long_ago, BillingUsage.reported_at: None}
        await session.exec(sa.update(BillingUsage).values(doubtful))
        refused = await usage_repository.mark_doubtful(session, world.acme, now() - DAY) == 1
        report.attempt(KIND, "usage of Globex is in doubt for Acme", refused=refused)


async def attack_unbilled_usage(world: World, report: Report) -> None:
    """Usage that nothing bills is listed and settled for one tenant at a time."""
    async with undone(entry.enter_tenant(world.ann.cookie, world.acme_slug)) as ctx:
        await ctx.session.exec(sa.update(BillingUsage).values(problem=usage_periods.ENDED, reported_at=None))
        groups = await unbilled_usage_repository.list_unbilled(ctx)
        refused = [group.count for group in groups] == [1]
        report.attempt(KIND, "usage of Globex that nothing bills, among that of Acme", refused=refused)
        await ctx.session.exec(sa.update(BillingUsage).values(tried_at=now()))
        counted = await usage_repository.sum_by_meter(ctx, since=now() - 999 * DAY, until=now() + DAY)
        (own_row,) = world.rows("billing_usage", "tenant_id", world.acme)
        refused = [row.billed + row.drawn for row in counted] == [own_row["quantity"]]
        report.attempt(KIND, "usage of Globex is behind an invoice of Acme", refused=refused)
        before = await _digest(ctx.session, world)
        for group in groups:
            await unbilled_usage_repository.settle(ctx, group.problem, group.meter, "usg_z")
        refused = before == await _digest(ctx.session, world)
        report.attempt(KIND, "usage of Globex is settled for Acme", refused=refused)


async def attack_refunds(world: World, report: Report) -> None:
    """Refunds of adjustments are those of one tenant."""
    async with undone(entry.enter_tenant(world.ann.cookie, world.acme_slug)) as ctx:
        await ctx.session.exec(sa.update(BillingRefund).values(adjustment_id="adj_attack"))
        refunds = await adjustments_repository.list_refunds(ctx)
        refused = {refund.tenant_id for refund in refunds} == {world.acme}
        report.attempt(KIND, "refunds of Globex among those of Acme", refused=refused)


async def attack_prepaid_credits(world: World, report: Report) -> None:
    """Prepaid credits, and the charges that top them up, are those of one tenant."""
    (other_id,) = [row["id"] for row in world.rows("prepaid_grant", "tenant_id", world.globex)]
    invoice_ids = [row["invoice_id"] for row in world.rows("billing_refund", "tenant_id", world.globex)]
    async with undone(entry.enter_tenant(world.ann.cookie, world.acme_slug)) as ctx:
        session, connection = ctx.session, await ctx.session.connection()
        paid_grants = [
            {
                **{"tenant_id": world.globex, "id": new_id("pgr"), "source": "top_up", "amount": 5},
                **{"remaining": 5, "currency": "usd", "priority": 50, "invoice_id": invoice_id},
                **{"expires_at": now() - DAY, "reason_code": "", "reason": "", "by_id": "", "by_name": ""},
            }
            for invoice_id in invoice_ids
        ]
        await connection.execute(sa.insert(PrepaidGrant), paid_grants)
        usable = await prepaid_repository.list_usable_grants(session, world.acme)
        locked = await prepaid_repository.lock_usable_grants(session, world.acme)
        expired = await prepaid_repository.lock_expired_grants(ctx, now())
        refused = {grant.tenant_id for grant in (*usable, *locked, *expired)} == {world.acme}
        report.attempt(KIND, "credits of Globex pay for Acme", refused=refused)
        refused = other_id not in await prepaid_repository.list_entry_sums(ctx, ("grant",))
        report.attempt(KIND, "the ledger of Globex is summed for Acme", refused=refused)
        await connection.execute(sa.update(PrepaidGrant).values(remaining=0))
        own_ids = {row["id"] for row in world.rows("prepaid_grant", "tenant_id", world.acme)}
        refused = (await prepaid_repository.list_last_kinds(ctx)).keys() == own_ids
        report.attempt(KIND, "used up credits of Globex among those of Acme", refused=refused)
    await reversing(world, report)
    async with undone(db.transaction(tenant_id=world.acme)) as session:
        settings = [
            await top_ups_repository.lock_setting(session, tenant) for tenant in (world.acme, world.globex)
        ]
        tenants = [setting.tenant_id for setting in settings if setting is not None]
        refused = tenants == [world.acme, world.globex]  # whichever row comes first
        report.attempt(KIND, "the top-ups of Globex are set for Acme", refused=refused)
        connection = await session.connection()
        is_other = col(TopUp.tenant_id) == world.globex
        await connection.execute(sa.update(TopUp).where(is_other).values(state="requested"))
        refused = await top_ups_repository.find_open_top_up(session, world.acme) is None
        await connection.execute(sa.update(BillingDispute).values(status="needs_response"))
        is_own = col(BillingDispute.tenant_id) == world.acme
        await connection.execute(sa.update(BillingDispute).where(is_own).values(status="won"))
        refused = refused and not await top_ups_repository.has_collection_dispute(session, world.acme)
        refused = refused and await top_ups_repository.sum_since(session, world.acme, now() - 99 * DAY) == 0
        report.attempt(KIND, "a top-up of Globex counts for Acme", refused=refused)
        await connection.execute(sa.update(BillingUsage).values(tried_at=now()))
        own_units = sum(
            row["quantity"] - row["drawn"] for row in world.rows("billing_usage", "tenant_id", world.acme)
        )
        period = (now() - 999 * DAY, now() + 999 * DAY)
        units = await usage_repository.sum_billed(session, world.acme, "api_calls", *period, without=())
        report.attempt(KIND, "usage of Globex is billed to Acme", refused=units == own_units)


async def reversing(world: World, report: Report) -> None:
    """Credits of each tenant, for payments of the other one that were refunded or disputed."""
    grants = [
        {
            **{"tenant_id": owner, "id": new_id("pgr"), "source": "top_up", "amount": 5},
            **{"remaining": 5, "currency": "usd", "priority": 50, "invoice_id": row["invoice_id"]},
            **{"expires_at": None, "reason_code": "", "reason": "", "by_id": "", "by_name": ""},
        }
        for owner, payer in ((world.acme, world.globex), (world.globex, world.acme))
        for table in ("billing_refund", "billing_dispute")
        for row in world.rows(table, "tenant_id", payer)
    ]
    top_up_ids = [row["id"] for row in world.rows("top_up", "tenant_id", world.globex)]
    async with undone(entry.enter_tenant(world.ann.cookie, world.acme_slug)) as ctx:
        connection = await ctx.session.connection()
        await connection.execute(sa.insert(PrepaidGrant), grants)
        refused = await prepaid_repository.list_reversals(ctx) == []
        report.attempt(KIND, "refunds of Globex take credits of Acme", refused=refused)
        refused = not await top_ups_repository.list_unpaid_ids(ctx, top_up_ids)
        report.attempt(KIND, "top-ups of Globex are settled for Acme", refused=refused)


@contextmanager
def without_policies(world: World) -> Iterator[None]:
    _set_row_security(world, "disable")
    try:
        yield
    finally:
        _set_row_security(world, "enable")


def _set_row_security(world: World, word: str) -> None:
    with world.superuser() as superuser:
        for table in world.tables():
            superuser.execute(
                sql.SQL("alter table {} {} row level security").format(sql.Identifier(table), sql.SQL(word))
            )


@contextmanager
def without_session_filter() -> Iterator[None]:
    """Also where it is gone already."""
    target = (Session, "do_orm_execute", db._filter_by_tenant)
    is_active = event.contains(*target)
    if is_active:
        event.remove(*target)
    try:
        yield
    finally:
        if is_active:
            event.listen(*target)


def keep_equal(first: Seen, second: Seen) -> Seen:
    return {name: answer for name, answer in first.items() if second.get(name) == answer}


async def call_as_deployed(world: World, report: Report, only: Collection[str] | None = None) -> Seen:
    """`only`: names of calls; None for all."""
    await attack_entry(world, report, DEPLOYED)
    await rate_limits.clear_counts()
    seen: Seen = {}
    for call in calls.find():
        if only is None or call.name in only:
            seen |= await _answers(call, world, report, DEPLOYED, untouched="")
    return seen


async def _comparisons(
    deployed: Seen, seen: Seen, world: World, report: Report, how: str, doubts: Doubts | None
) -> list[Probe]:
    """One for each call: it gives what it gave as deployed. `seen` gets what it gives, `doubts` what differs."""
    await rate_limits.clear_counts()  # or the thirtieth round would be refused for another reason
    async with undone(db.transaction(tenant_id=world.acme)) as session:
        untouched = await _digest(session, world)

    async def compare(call: Call) -> None:
        answers = await _answers(call, world, report, how, untouched)
        seen.update(answers)
        for name, answer in answers.items():
            if name in deployed:
                refused = answer == deployed[name]
                if not refused and doubts is not None:
                    doubts.append((call.name, name, how))
                else:
                    report.attempt(KIND, f"{name} {how} gives something else", refused=refused)

    return [(call.name, partial(compare, call)) for call in calls.find()]


async def _answers(call: Call, world: World, report: Report, how: str, untouched: str) -> Seen:
    """With arguments of Acme and of Globex, and in Initech where it needs none."""
    report.covers(KIND, call.name)
    seen = {}
    if not call.operators and not call.parameters:
        answer, touched = await _try(call, {}, world, untouched, _initech(world))
        seen[f"{call.name} of Initech"] = answer
        refused = not touched and not any(word in answer for word in world.words(world.acme, world.globex))
        report.attempt(KIND, f"{call.name} {how}, in Initech", refused=refused)
    admission = await _authenticate(call, world)
    try:
        for whose in (world.acme, world.globex):
            for number, values in enumerate(calls.variants(call, world, whose), 1):
                answer, touched = await _try(call, values, world, untouched, _enter(admission))
                name = f"of {world.names[whose]} ({number})"
                seen[f"{call.name} {name}"] = answer
                if call.operators:
                    continue  # who reads across tenants; what they get may not change either
                words = world.words(world.globex)
                if whose == world.globex:  # what it was asked for by name
                    words = tuple(word for word in words if word not in map(str, values.values()))
                refused = not touched and not any(word in answer for word in words)
                report.attempt(KIND, f"{call.name} {how}, {name}", refused=refused)
    except KeyError as unknown:
        report.unknown(KIND, f"{call.name}: parameter {unknown}")
    return seen


async def _try(
    call: Call, values: dict[str, Any], world: World, untouched: str, entered: Any
) -> tuple[str, bool]:
    """Call with the context of `entered`: the result as text, and whether a row of Globex differs from `untouched`.

    With policies nobody can see that from inside, and nothing needs to: `tables` attacks them.
    """
    async with undone(entered) as ctx:
        try:
            answer = await outcome(call, ctx, values)
            if isinstance(answer, SQLAlchemyError):
                raise answer
            await ctx.session.flush()
        except (SQLAlchemyError, NoTenant) as problem:  # refused below us
            return type(problem).__name__, False
        touched = bool(untouched) and await _wrote(ctx.session)
        touched = touched and await _digest(ctx.session, world) != untouched
        return _words(answer), touched


Admission = TenantAdmission | OperatorAdmission


async def _authenticate(call: Call, world: World) -> Admission:
    """Of the owner of Acme, or of an operator for what takes one. As the apps do it once before every event."""
    if call.operators:
        principal = await authentication.authenticate_operator(world.olga, touches=False)
    else:
        principal = await authentication.authenticate(world.ann.cookie, world.acme_slug, touches=False)
    if principal is None or principal.admission is None:
        raise AssertionError("the owner is not let in")
    return principal.admission


def _enter(admission: Admission) -> Any:
    if isinstance(admission, OperatorAdmission):
        return entry.enter_admitted_operator(admission)
    return entry.enter_admitted(admission)


def _initech(world: World) -> Any:
    """Where the others have something: no logo, one member, an owner without a proven address."""
    return entry.enter_job(world.initech, "attack", request_ids.current())


async def _wrote(session: Any) -> bool:
    """Whoever has not, has touched nothing: a transaction has a number of its own from its first write on."""
    number = sa.text("select pg_current_xact_id_if_assigned() is not null")
    return bool((await (await session.connection()).execute(number)).scalar_one())


async def _digest(session: Any, world: World) -> str:
    """Of all that Globex has, by this transaction's own eyes: without policies it sees everything."""
    parts = [
        f"select md5(coalesce(string_agg(t::text, '' order by t::text), '')) from \"{table}\" t where {key} = :tenant"
        for table, key in world.tables().items()
    ]
    connection = await session.connection()
    rows = await connection.execute(sa.text(" union all ".join(parts)), {"tenant": world.globex})
    return " ".join(row[0] for row in rows)


def _words(answer: Any) -> str:
    if isinstance(answer, set | frozenset):
        return str(sorted(map(_words, answer)))
    if isinstance(answer, Exception):
        return f"{type(answer).__name__}: {answer}"
    return repr(answer)


async def attack_session_filter(world: World, report: Report) -> None:
    """The filter that the session adds to every statement, attacked by statements that have none."""
    database_catalog.list_registered_tables()  # imports every model
    for model in _models():
        name, row = model.__tablename__, world.rows(str(model.__tablename__), "tenant_id", world.globex)
        async with db.transaction(tenant_id=world.acme) as session:
            everything = (await session.exec(select(model))).all()
            report.control(KIND, f"session: {name}", works=bool(everything and row))
            is_filtered = all(record.tenant_id == world.acme for record in everything)
            report.attempt(KIND, f"session: {name} without a filter", refused=is_filtered)
            globex_query = select(model).where(model.tenant_id == world.globex)
            report.attempt(
                KIND, f"session: {name} of Globex", refused=not (await session.exec(globex_query)).all()
            )
            key = (world.globex, row[0]["id"])
            report.attempt(KIND, f"session: {name} by key", refused=await session.get(model, key) is None)
            for form, entity, statement in _indirect(model):
                globex_query = statement.where(entity.tenant_id == world.globex)
                records = [record for (record,) in (await session.exec(globex_query)).all() if record]
                report.attempt(KIND, f"session: {name}: {form} of Globex", refused=not records)
        for change in (sa.update(model).values(id=model.id), sa.delete(model)):
            report.attempt(
                KIND, f"session: {name}: {change.__visit_name__}", refused=await _spares(change, world)
            )
        direct = [("all", model, select(model)), ("deleted", model, sa.delete(model))]
        for form, _, statement in (*direct, *_indirect(model)):
            refused = await _has_no_tenant(statement)
            report.attempt(KIND, f"session: {name}: {form} without a tenant", refused=refused)
        report.attempt(
            KIND, f"session: {name} of Globex added", refused=await _is_not_added(model, row[0], world)
        )


def _indirect(model: Any) -> Iterator[tuple[str, Any, Any]]:
    """Name, what to compare, and a statement whose first word is not the model."""
    other = aliased(model)
    yield "count", model, sa.select(sa.func.count()).select_from(model)
    yield "column", model, sa.select(sa.func.max(model.id))
    yield "join", model, sa.select(User.id).join(model, sa.true())
    yield "alias", other, sa.select(sa.func.count()).select_from(other)


def _models() -> list[Any]:
    waiting, models = [TenantRow], []
    while waiting:
        kind = waiting.pop()
        waiting += kind.__subclasses__()
        models += [kind] if hasattr(kind, "__table__") else []
    return sorted(models, key=lambda model: str(model.__tablename__))


async def _spares(change: Any, world: World) -> bool:
    """Without a filter of its own it may have hit Acme, and nothing else."""
    async with undone(db.transaction(tenant_id=world.acme)) as session:
        before = await _digest(session, world)
        try:
            await session.exec(change)
        except SQLAlchemyError:  # a foreign key, or no right to do that at all
            return True
        return bool(before == await _digest(session, world))


async def _has_no_tenant(statement: Any) -> bool:
    try:
        async with undone(db.transaction()) as session:
            await session.exec(statement)
    except (NoTenant, SQLAlchemyError):  # or no right to such a statement at all
        return True
    return False


async def _is_not_added(model: Any, row: dict[str, Any], world: World) -> bool:
    try:
        async with undone(db.transaction(tenant_id=world.acme)) as session:
            session.add(model(**row | {"id": f"{row['id'][:4]}attack"}))
            await session.flush()
    except NoTenant:
        return True
    except SQLAlchemyError:  # the database stopped what had to be stopped before
        return False
    return False


async def attack_entry(world: World, report: Report, how: str) -> None:
    for person, account, slug in (
        ("the owner of Globex", world.gil, world.acme_slug),
        ("the owner of Acme", world.ann, world.globex_slug),
        ("a person without a tenant", world.carl, world.acme_slug),
    ):
        try:
            async with entry.enter_tenant(account.cookie, slug):
                entered = True
        except NotFound:
            entered = False
        report.attempt(KIND, f"door {how}: {person}", refused=not entered)
        peeked = await authentication.authenticate(account.cookie, slug)
        report.attempt(KIND, f"door {how}: {person} peeks", refused=peeked is None or not peeked.tenant_id)
        tenant_id = world.globex if slug == world.globex_slug else world.acme
        for alias in (world.former_slugs[tenant_id], tenant_id):
            peeked = await authentication.authenticate(account.cookie, alias)
            refused = peeked is None or not peeked.present_slug
            report.attempt(KIND, f"door {how}: {person} at another address", refused=refused)
        listed = await user_tenants.list_user_tenants(account.cookie)
        refused = all(place.slug != slug for place in listed)
        report.attempt(KIND, f"door {how}: {person} lists", refused=refused)
    with world.superuser() as superuser:
        superuser.execute("update membership set seen_at = null")
        await authentication.authenticate(world.bea.cookie, world.acme_slug)
        rows = superuser.execute(
            "select tenant_id, user_id from membership where seen_at is not null"
        ).fetchall()
        superuser.execute("update membership set seen_at = null")  # as everybody else finds it
    seen, own_visit = {tuple(row.values()) for row in rows}, (world.acme, world.bea.user.id)
    report.attempt(KIND, f"door {how}: somebody else was seen too", refused=not seen - {own_visit})
    report.control(KIND, f"door {how}: who came was seen", works=own_visit in seen)
    moved = await authentication.authenticate(world.ann.cookie, world.former_slugs[world.acme])
    works = moved is not None and moved.present_slug == world.acme_slug
    report.control(KIND, f"door {how}: a member at a former address", works=works)
    works = len(await user_tenants.list_user_tenants(world.bea.cookie)) == 2
    report.control(KIND, f"door {how}: somebody in both", works=works)


async def attack_visits(world: World, report: Report) -> None:
    """Looking into one tenant for a reason must not pass for having looked into the other."""
    async with undone(entry.enter_operator(world.olga)) as octx:
        checks = []
        for tenant in (world.acme, world.globex):
            async with entry.enter_as_operator(octx, tenant, "Ticket 4472") as ctx:
                await ctx.session.flush()
                checks.append(
                    await entry.repository.has_recent_visit(
                        ctx.session, tenant, octx.actor_id, "Ticket 4472", DAY
                    )
                )
                count_query = sa.text(
                    "select count(*) from audit_event where tenant_id = :tenant and reason = 'Ticket 4472'"
                )
                connection = await ctx.session.connection()
                checks.append((await connection.execute(count_query, {"tenant": tenant})).scalar_one() == 1)
    report.attempt(KIND, "a look into Acme passes for one into Globex", refused=all(checks))
