"""Operators begin support sessions: the reasons and rights that it needs, and whom it is refused for."""

import pytest

from shared.audit import audit_log
from shared.audit.audit_filter import AuditFilter
from shared.backoffice import impersonations, tenant_directory
from shared.backoffice.reasons import state_reason
from shared.core.errors import Conflict, DomainError, Invalid, NotFound, Refused
from shared.core.ids import new_id
from shared.tenancy import impersonation_entry, members, notifications, support_access
from shared.tenancy.impersonations import Phase
from tests.conftest import Cast
from tests.support import database, factories, support_sessions, workers
from tests.support.stand_in_mail import run_mailbox

BAD_ORDERS = {
    "a reason of spaces": ({"reason": "   "}, "reason"),
    "a reason that explains nothing": ({"reason": "because"}, "reason"),
    "a ticket of spaces": ({"ticket": "   "}, "ticket"),
    "a ticket that is too long": ({"ticket": "x" * 61}, "ticket"),
    "a week": ({"minutes": 7 * 24 * 60}, "minutes"),
    "no time": ({"minutes": 0}, "minutes"),
    "changes for a reason of spaces": ({"can_write": True, "write_reason": "   "}, "write_reason"),
}


async def find_adam(cast: Cast) -> str:
    return await support_sessions.find_membership(cast.ann.cookie, cast.ann.slug, cast.adam.user_id)


@pytest.mark.parametrize("name", BAD_ORDERS)
async def test_bad_order_of_a_support_session_names_its_field(cast: Cast, name: str) -> None:
    values, field = BAD_ORDERS[name]
    with pytest.raises(Invalid) as refused:
        await support_sessions.request(cast.olga.cookie, cast.acme, await find_adam(cast), **values)  # type: ignore[arg-type]
    assert list(refused.value.fields) == [field]
    assert refused.value.next_step


async def test_support_session_is_requested_with_its_reason_and_scope(cast: Cast) -> None:
    requested = await support_sessions.request(cast.sam.cookie, cast.acme, await find_adam(cast), minutes=10)
    assert requested.code.startswith(f"{cast.acme}.")
    async with cast.ann.ctx() as ctx:
        (event,) = (await audit_log.list_events(ctx, AuditFilter(object_id=requested.id))).rows
    assert (event.action, event.actor_name, event.reason) == (
        "impersonation.requested",
        "Sam",
        support_sessions.REASON,
    )
    details = event.details
    assert (details["on_behalf_of"], details["ticket"]) == (cast.adam.user_id, support_sessions.TICKET)
    assert (details["minutes"], details["scope"]) == (10, "read only")


async def test_changes_need_the_second_permission(cast: Cast) -> None:
    with pytest.raises(Refused) as refused:
        await support_sessions.request(cast.sam.cookie, cast.acme, await find_adam(cast), can_write=True)
    assert refused.value.action == "op:impersonate:write"


async def test_support_session_is_refused_for_people_who_are_closed_to_it(cast: Cast) -> None:
    adam = await find_adam(cast)
    async with cast.ann.ctx() as ctx:
        await members.deactivate(ctx, adam)
    refusals: dict[str, DomainError] = {}
    outsider = await support_sessions.find_membership(cast.gil.cookie, cast.gil.slug, cast.gil.user_id)
    for name, membership in {"deactivated": adam, "unknown": new_id("mem"), "foreign": outsider}.items():
        with pytest.raises(DomainError) as refused:
            await support_sessions.request(cast.olga.cookie, cast.acme, membership)
        refusals[name] = refused.value
    assert isinstance(refusals["deactivated"], Refused)
    assert refusals["deactivated"].reason == "person_closed"
    assert isinstance(refusals["unknown"], NotFound)
    assert (refusals["foreign"].detail, refusals["foreign"].next_step) == (
        refusals["unknown"].detail,
        refusals["unknown"].next_step,
    )


async def test_support_session_is_refused_for_a_disabled_account(cast: Cast) -> None:
    adam = await find_adam(cast)
    database.connect().execute('update "user" set disabled_at = now() where id = %s', [cast.adam.user_id])
    with pytest.raises(Refused) as refused:
        await support_sessions.request(cast.olga.cookie, cast.acme, adam)
    assert "can’t sign in" in refused.value.detail


async def test_support_session_is_refused_for_oneself_and_for_other_operators(cast: Cast) -> None:
    own, other = await factories.create_operator("Own"), await factories.create_operator("Oth")
    adam = await find_adam(cast)
    details = []
    for operator in (own, other):
        email = database.connect().execute(
            "select o.email from operator o where o.name = %s order by created_at desc limit 1",
            ["Own"],
        )
        row = email.fetchone()
        assert row is not None
        database.connect().execute('update "user" set email = %s where id = %s', [row[0], cast.adam.user_id])
        with pytest.raises(Refused) as refused:
            await support_sessions.request(operator, cast.acme, adam)
        details.append(refused.value.detail)
    assert details == ["This is your own account.", f"{cast.adam.name} is an operator as well."]


async def test_support_session_is_refused_for_a_suspended_tenant(cast: Cast) -> None:
    adam = await find_adam(cast)
    running = await support_sessions.start(cast.olga.cookie, cast.acme, adam)
    async with cast.olga.octx() as octx:
        reason = state_reason(octx, "Payments disputed", tenant_id=cast.acme)
        await tenant_directory.suspend_tenant(octx, cast.acme, reason, message="Payments are disputed.")
    with pytest.raises(Refused) as refused:
        await support_sessions.request(cast.olga.cookie, cast.acme, adam)
    assert refused.value.reason == "tenant_suspended"
    with pytest.raises(DomainError):
        async with running.ctx():
            pass


async def test_support_session_waits_for_an_owner_where_the_tenant_wants_it(cast: Cast) -> None:
    adam = await find_adam(cast)
    async with cast.ann.ctx() as ctx:
        await support_access.set_consent_needed(ctx, True)
    requested = await support_sessions.request(cast.olga.cookie, cast.acme, adam)
    assert requested.code == ""
    async with cast.olga.octx() as octx:
        with pytest.raises(Conflict):
            await impersonations.begin(octx, cast.acme, requested.id)
    async with cast.adam.ctx() as ctx:
        with pytest.raises(Refused):
            await support_access.approve(ctx, requested.id)
    async with cast.ann.ctx() as ctx:
        (waiting,) = (await support_access.view_support_access(ctx)).sessions.rows
        assert waiting.phase is Phase.WAITING
        await support_access.approve(ctx, requested.id)
    async with cast.sam.octx() as octx:
        with pytest.raises(NotFound):
            await impersonations.begin(octx, cast.acme, requested.id)
    async with cast.olga.octx() as octx:
        begun = await impersonations.begin(octx, cast.acme, requested.id)
    started = await impersonation_entry.accept_code(begun.code)
    assert started.slug == cast.ann.slug


async def test_request_that_needed_no_consent_does_not_begin_once_owners_want_to_be_asked(cast: Cast) -> None:
    requested = await support_sessions.request(cast.olga.cookie, cast.acme, await find_adam(cast))
    async with cast.ann.ctx() as ctx:
        await support_access.set_consent_needed(ctx, True)
    async with cast.olga.octx() as octx:
        with pytest.raises(Conflict):
            await impersonations.begin(octx, cast.acme, requested.id)
    with pytest.raises(Refused) as refused:
        await impersonation_entry.accept_code(requested.code)
    assert refused.value.reason == "code_invalid"


async def test_declined_request_never_begins(cast: Cast) -> None:
    async with cast.ann.ctx() as ctx:
        await support_access.set_consent_needed(ctx, True)
    requested = await support_sessions.request(cast.olga.cookie, cast.acme, await find_adam(cast))
    async with cast.ann.ctx() as ctx:
        await support_access.decline(ctx, requested.id)
        with pytest.raises(Conflict):
            await support_access.approve(ctx, requested.id)
    async with cast.olga.octx() as octx:
        with pytest.raises(Conflict):
            await impersonations.begin(octx, cast.acme, requested.id)


async def test_owners_are_told_in_the_app_and_by_mail(cast: Cast, schema: str) -> None:
    workers.clear_queue(schema)
    await support_sessions.start(cast.olga.cookie, cast.acme, await find_adam(cast))
    async with run_mailbox() as box:
        await workers.run_due_jobs()
        texts = [mail.text for mail in box.mails if cast.ann.email in mail.to]
    async with cast.ann.ctx() as ctx:
        titles = [row.title for row in await notifications.list_my_notifications(ctx)]
    assert f"Support acts for {cast.adam.name}" in titles
    assert [support_sessions.REASON in mail for mail in texts] == [True]
