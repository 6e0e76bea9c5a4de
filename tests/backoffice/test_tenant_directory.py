"""The tenant directory of operators: search, members, suspension, overview and jobs."""

from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from shared.access.roles import OPERATOR_ROLES
from shared.api_keys import keys
from shared.api_keys.keys import KeyRequest
from shared.audit.audit_filter import AuditFilter
from shared.backoffice import tenant_access, tenant_directory
from shared.backoffice.reasons import state_reason
from shared.billing.models import PLATFORM, BillingCustomer, BillingInvoice
from shared.core import db
from shared.core.context import OperatorCtx
from shared.core.db import now
from shared.core.errors import Conflict, Invalid, NotFound, Refused
from shared.core.ids import new_id
from shared.identity.models import User
from shared.tenancy import audit_reader, entry, members, provisioning, roles, tenants
from shared.tenancy.models import Tenant, TenantState
from shared.test_mode import test_tenants
from tests.conftest import Cast, Operating, Person
from tests.support import factories
from tests.support.http_visitor import browser

REASON = "ticket 7: cannot sign in"


async def search_names(octx: OperatorCtx, query: str, **options: Any) -> list[str]:
    return [row.name for row in (await tenant_directory.search_tenants(octx, query, **options)).rows]


async def create_tenants(word: str) -> list[str]:
    """Five tenants with the word in their names, in different states; two names differ only in case."""
    founder = await factories.create_account("Fay")
    made = [
        await factories.create_tenant(founder, f"{name} {word}")
        for name in ("İstanbul", "istanbul", "Zed", "ada", "Ärzte")
    ]
    async with db.transaction(tenant_id=made[2].id) as session:
        tenant = await session.get(Tenant, made[2].id)
        assert tenant is not None
        tenant.state = TenantState.PENDING_VERIFICATION
    return [tenant.id for tenant in made]


# ── finding ──────────────────────────────────────────────────────────────────────────────────────────────────────


async def test_tenant_is_found_by_name_id_and_a_members_whole_address(cast: Cast) -> None:
    async with cast.sam.octx() as octx:
        for query in (cast.acme, cast.ann.slug, f"  {cast.max.email.upper()} "):
            rows = (await tenant_directory.search_tenants(octx, query)).rows
            assert [row.id for row in rows] == [cast.acme], query
        (row,) = (await tenant_directory.search_tenants(octx, cast.max.email)).rows
        assert row.matched_by == f"Max <{cast.max.email}>"
        assert (row.owner, row.members, row.pending_invitations) == ("Ann", 3, 0)
        assert await search_names(octx, f"{cast.carl.email}") == []
        assert await search_names(octx, "%") == []


async def test_tenant_is_found_by_what_support_is_told(cast: Cast) -> None:
    customer, invoice, number = new_id("cus"), new_id("in"), f"BLK{new_id('x')[-6:].upper()}-0001"
    async with cast.ann.ctx() as ctx:
        ctx.session.add_all(
            [
                BillingCustomer(tenant_id=cast.acme, id=customer),
                BillingInvoice(
                    **{"tenant_id": cast.acme, "id": invoice, "number": number, "account_id": PLATFORM},
                    **{"customer_id": customer, "status": "paid", "currency": "usd", "created_at": now()},
                    **{"total": 1, "due": 1, "paid": 1, "ticket": 1},
                ),
            ]
        )
        created_key = await keys.create(ctx, KeyRequest(name="Sync", scopes=["member:read"]))
        request_id = ctx.request_id
    async with cast.sam.octx() as octx:
        for reference in (customer, invoice, number, number.lower(), request_id):
            (row,) = (await tenant_directory.search_tenants(octx, reference)).rows
            assert (row.id, row.matched_by) == (cast.acme, reference)
        for key_text in (created_key.text, created_key.text[:50]):
            (row,) = (await tenant_directory.search_tenants(octx, key_text)).rows
            assert (row.id, row.matched_by) == (cast.acme, "its API key")
        for reference in (
            "cus_unknown",
            "XX-1",
            "req_unknown",
            "bk_live_unknown",
            "bk_live_",
            f"{customer}%",
        ):
            assert await search_names(octx, reference) == [], reference


async def test_name_with_an_at_sign_is_found_by_a_part_of_it(cast: Cast) -> None:
    founder = await factories.create_account("Fay")
    word = new_id("x")[-8:]
    for name in (f"R@D {word}", f"{word}@shop.test"):
        await factories.create_tenant(founder, name)
    async with cast.sam.octx() as octx:
        assert await search_names(octx, f"r@d {word}") == [f"R@D {word}"]
        assert await search_names(octx, f"{word}@shop.test") == [f"{word}@shop.test"]


async def test_tenant_is_not_found_by_part_of_a_members_address(cast: Cast) -> None:
    email = cast.max.email
    async with cast.sam.octx() as octx:
        for part in ("@", email[1:], email[:-1], email.partition("@")[0], "@max.test", f"{email} {email}"):
            assert cast.acme not in [
                row.id for row in (await tenant_directory.search_tenants(octx, part)).rows
            ], part
        rows = (await tenant_directory.search_tenants(octx, "", limit=100)).rows
        text = "".join(
            str(row) for row in [*rows, *(await tenant_directory.search_tenants(octx, cast.acme)).rows]
        )
        text += str(await tenant_directory.get_tenant(octx, cast.acme))
    assert not [person for person in (cast.ann, cast.adam, cast.max, cast.gil) if person.email in text]


async def test_search_by_address_is_recorded_once_when_it_matches(cast: Cast) -> None:
    """Each address is recorded once, however often it is searched; an address without a match is not."""
    for asked in (cast.max.email, cast.max.email.upper(), cast.gil.email, cast.carl.email, "acme"):
        async with cast.sam.octx() as octx:
            await tenant_directory.search_tenants(octx, asked)
            operator_id = octx.actor_id
    async with cast.olga.octx() as octx:
        events = (await tenant_directory.list_operator_events(octx, limit=100)).rows
    asked_for = {cast.max.email, cast.gil.email, cast.carl.email}
    kept = [
        event for event in events if event.details.get("query") in asked_for and event.actor_id == operator_id
    ]
    assert [(event.action, event.details["query"]) for event in kept] == [
        ("tenants.read_across", cast.gil.email),
        ("tenants.read_across", cast.max.email),
    ]


async def test_tenant_is_found_by_the_address_of_a_former_member(cast: Cast) -> None:
    async with cast.ann.ctx() as ctx:
        (row,) = (await members.list_members(ctx, query=cast.max.email)).rows
        await members.remove(ctx, row.id)
    async with cast.sam.octx() as octx:
        (tenant,) = (await tenant_directory.search_tenants(octx, cast.max.email)).rows
    assert (tenant.id, tenant.members) == (cast.acme, 2)


@pytest.mark.parametrize("descending", [False, True])
@pytest.mark.parametrize("sort", ["name", "created_at", "members"])
async def test_pages_of_tenants_add_up_to_the_whole_list_in_order(
    cast: Cast, sort: str, descending: bool
) -> None:
    word = new_id("x")[-8:]
    made = await create_tenants(word)
    async with cast.sam.octx() as octx:
        whole = await tenant_directory.search_tenants(octx, word, sort=sort, descending=descending)
        pieces, after = [], ""
        for _ in range(len(made)):
            page = await tenant_directory.search_tenants(
                octx, word, sort=sort, descending=descending, after=after, limit=2
            )
            pieces += [row.id for row in page.rows]
            after = page.next_cursor
            if not after:
                break
    assert {row.id for row in whole.rows} == set(made)
    assert pieces == [row.id for row in whole.rows]


async def test_tenants_are_filtered_by_state(cast: Cast) -> None:
    word = new_id("x")[-8:]
    await create_tenants(word)
    async with cast.sam.octx() as octx:
        assert await search_names(octx, word, state="pending_verification") == [f"Zed {word}"]
        assert len(await search_names(octx, word, state="active")) == 4


@pytest.mark.parametrize(
    "asked",
    [
        {"query": "x" * 201},
        {"query": "\x00"},
        {"state": "king"},
        {"sort": "password"},
        {"after": "ten_unknown"},
    ],
)
async def test_tenant_list_with_invalid_arguments_is_refused(cast: Cast, asked: dict[str, str]) -> None:
    async with cast.sam.octx() as octx:
        with pytest.raises(Invalid):
            await tenant_directory.search_tenants(octx, **asked)  # type: ignore[arg-type]


async def test_reading_the_tenant_list_is_recorded_once(cast: Cast) -> None:
    for _ in range(3):
        async with cast.sam.octx() as octx:
            await tenant_directory.search_tenants(octx, "acme")
    async with cast.olga.octx() as octx:
        events = [
            event
            for event in (await tenant_directory.list_operator_events(octx, limit=100)).rows
            if event.actor_name == "Sam"
        ]
        reads = [event for event in events if event.reason == tenant_directory.LIST_REASON]
    async with cast.sam.octx() as octx:
        assert len([event for event in reads if event.actor_id == octx.actor_id]) == 1


# ── looking into one ─────────────────────────────────────────────────────────────────────────────────────────────


async def test_members_and_events_are_shown_for_a_reason_the_tenant_can_read(cast: Cast) -> None:
    for look in (tenant_directory.list_members, tenant_directory.list_events):
        with pytest.raises(Invalid, match="reason"):
            async with cast.sam.octx() as octx:
                await look(octx, cast.acme, state_reason(octx, " ", tenant_id=cast.acme))
    async with cast.sam.octx() as octx:
        page = await tenant_directory.list_members(
            octx, cast.acme, state_reason(octx, REASON, tenant_id=cast.acme)
        )
        events = await tenant_directory.list_events(
            octx, cast.acme, state_reason(octx, REASON, tenant_id=cast.acme)
        )
    assert [row.name for row in page.rows] == ["Adam", "Ann", "Max"]
    assert {event.tenant_id for event in events.rows} == {cast.acme}
    async with cast.ann.ctx() as ctx:
        event = (await audit_reader.list_events(ctx, limit=1)).rows[0]
    assert (event.action, event.actor_type, event.actor_name, event.reason) == (
        "operator.looked",
        "operator",
        "Sam",
        REASON,
    )


async def test_members_are_listed_by_page_former_ones_last(cast: Cast) -> None:
    async with cast.ann.ctx() as ctx:
        (row,) = (await members.list_members(ctx, query=cast.adam.email)).rows
        await members.remove(ctx, row.id)
    shown, after = [], ""
    async with cast.sam.octx() as octx:
        for _ in range(3):
            page = await tenant_directory.list_members(
                octx, cast.acme, state_reason(octx, REASON, tenant_id=cast.acme), after=after, limit=1
            )
            shown += [(member.name, member.state.value) for member in page.rows]
            after = page.next_cursor
        assert after == ""
    assert shown == [("Ann", "active"), ("Max", "active"), ("Adam", "removed")]


async def test_unknown_tenant_is_not_found(cast: Cast) -> None:
    async with cast.sam.octx() as octx:
        with pytest.raises(NotFound):
            await tenant_directory.get_tenant(octx, "ten_unknown")
    with pytest.raises(NotFound):
        async with cast.sam.octx() as octx:
            await tenant_directory.list_members(
                octx, "ten_unknown", state_reason(octx, REASON, tenant_id="ten_unknown")
            )


# ── suspending and restoring ─────────────────────────────────────────────────────────────────────────────────────


async def test_suspension_refuses_members_and_spares_other_tenants(cast: Cast) -> None:
    async with cast.olga.octx() as octx:
        await tenant_directory.suspend_tenant(
            octx, cast.acme, state_reason(octx, "Unpaid since May", tenant_id=cast.acme)
        )
        assert (await tenant_directory.get_tenant(octx, cast.acme)).state_reason == "Unpaid since May"
    for person in (cast.ann, cast.max):
        async with person.ctx() as ctx:
            with pytest.raises(Refused, match="tenant_suspended"):
                await members.list_members(ctx)
    async with cast.gil.ctx() as ctx:
        await members.list_members(ctx)
    with pytest.raises(Refused, match="tenant_suspended"):
        async with entry.enter_job(cast.acme, "any", "req_x"):
            pytest.fail("got in")


@pytest.mark.parametrize("before", [TenantState.ACTIVE, TenantState.PENDING_VERIFICATION])
async def test_restored_tenant_has_its_former_state(cast: Cast, before: TenantState) -> None:
    async with db.transaction(tenant_id=cast.acme) as session:
        tenant = await session.get(Tenant, cast.acme)
        ann = await session.get(User, cast.ann.user_id)
        assert tenant is not None
        assert ann is not None
        tenant.state = before
        if before is TenantState.PENDING_VERIFICATION:
            ann.email_verified_at = None
    for _ in range(2):  # the latest suspension counts
        async with cast.olga.octx() as octx:
            await tenant_directory.suspend_tenant(
                octx, cast.acme, state_reason(octx, "Unpaid, ticket 4471", tenant_id=cast.acme)
            )
        async with cast.olga.octx() as octx:
            await tenant_directory.restore_tenant(
                octx, cast.acme, state_reason(octx, "Paid, ticket 4471", tenant_id=cast.acme)
            )
    async with cast.olga.octx() as octx:
        details = await tenant_directory.get_tenant(octx, cast.acme)
        assert (details.state, details.state_reason) == (before, "")
        page = await tenant_directory.list_events(
            octx, cast.acme, state_reason(octx, REASON, tenant_id=cast.acme), limit=5
        )
    restored = next(event for event in page.rows if event.action == "tenant.restored")
    assert (restored.before, restored.after, restored.reason) == (
        {"state": "suspended"},
        {"state": before.value},
        "Paid, ticket 4471",
    )


async def test_suspension_and_restoration_are_refused_in_the_wrong_state(cast: Cast) -> None:
    with pytest.raises(Conflict, match="isn’t suspended"):
        async with cast.olga.octx() as octx:
            await tenant_directory.restore_tenant(
                octx, cast.acme, state_reason(octx, "Paid, ticket 4471", tenant_id=cast.acme)
            )
    async with cast.olga.octx() as octx:
        await tenant_directory.suspend_tenant(
            octx, cast.acme, state_reason(octx, "Unpaid, ticket 4471", tenant_id=cast.acme)
        )
    with pytest.raises(Conflict, match="already suspended"):
        async with cast.olga.octx() as octx:
            await tenant_directory.suspend_tenant(
                octx, cast.acme, state_reason(octx, "Unpaid, ticket 4471", tenant_id=cast.acme)
            )
    for verb in (tenant_directory.suspend_tenant, tenant_directory.restore_tenant):
        with pytest.raises(Invalid, match="reason"):
            async with cast.olga.octx() as octx:
                await verb(octx, cast.globex, state_reason(octx, "", tenant_id=cast.globex))


async def test_jobs_delayed_by_a_suspension_are_due_after_restoration(cast: Cast) -> None:
    async def list_delayed_jobs(change: str = "") -> list[str]:
        async with db.transaction() as session:
            connection = await session.connection()
            if change:
                await connection.exec_driver_sql(change, (cast.acme,))
            rows = await connection.exec_driver_sql(
                "select task_name from procrastinate_jobs where lock = %s and scheduled_at > now()",
                (cast.acme,),
            )
            return list(rows.scalars().all())

    async with cast.olga.octx() as octx:
        await tenant_directory.suspend_tenant(
            octx, cast.acme, state_reason(octx, "Unpaid, ticket 4471", tenant_id=cast.acme)
        )
    assert await list_delayed_jobs(
        "update procrastinate_jobs set scheduled_at = now() + interval '1 hour' where lock = %s"
    )
    async with cast.olga.octx() as octx:
        await tenant_directory.restore_tenant(
            octx, cast.acme, state_reason(octx, "Paid, ticket 4471", tenant_id=cast.acme)
        )
    assert await list_delayed_jobs() == []


ACTS: dict[str, Callable[[OperatorCtx, str], Awaitable[Any]]] = {
    "suspend": lambda octx, tenant: tenant_directory.suspend_tenant(
        octx, tenant, state_reason(octx, REASON, tenant_id=tenant)
    ),
    "restore": lambda octx, tenant: tenant_directory.restore_tenant(
        octx, tenant, state_reason(octx, REASON, tenant_id=tenant)
    ),
    "read everything": lambda octx, tenant: tenant_directory.list_all_events(
        octx, state_reason(octx, REASON), AuditFilter()
    ),
    "read the operators' trail": lambda octx, tenant: tenant_directory.list_operator_events(octx),
    "prove the operators' trail": lambda octx, tenant: tenant_directory.verify_operator_log(octx),
}


@pytest.mark.parametrize("act", ACTS)
async def test_suspension_is_refused_for_support(cast: Cast, act: str) -> None:
    with pytest.raises(Refused, match="missing_permission"):
        async with cast.sam.octx() as octx:
            await ACTS[act](octx, cast.acme)


@pytest.mark.parametrize("role", OPERATOR_ROLES)
async def test_suspension_is_allowed_by_operator_role(role: str, cast: Cast) -> None:
    somebody = Operating(await factories.create_operator("Otto", role))
    if role == "support":
        with pytest.raises(Refused):
            async with somebody.octx() as octx:
                await tenant_directory.suspend_tenant(
                    octx, cast.acme, state_reason(octx, REASON, tenant_id=cast.acme)
                )
        return
    async with somebody.octx() as octx:
        await tenant_directory.suspend_tenant(
            octx, cast.acme, state_reason(octx, REASON, tenant_id=cast.acme)
        )


# ── the rest of the overview ─────────────────────────────────────────────────────────────────────────────────────


async def test_overview_counts_states_and_lists_provisioning_steps(cast: Cast) -> None:
    async with cast.olga.octx() as octx:
        overview = await tenant_directory.get_overview(octx)
        assert overview.tenants_by_state[TenantState.ACTIVE] >= 2
        steps = {step.key: step for step in await tenant_directory.list_provisioning_steps(octx, cast.acme)}
    assert list(steps) == [step.key for step in provisioning.STEPS]
    assert (steps["roles"].state, steps["settings"].state) == ("done", "waiting")
    assert steps["settings"].title == "Settings and data key"


async def test_provisioning_is_resumed_with_a_reason_unless_suspended(cast: Cast) -> None:
    async with cast.sam.octx() as octx:
        await tenant_directory.resume_provisioning(
            octx, cast.acme, state_reason(octx, REASON, tenant_id=cast.acme)
        )
        event = (
            await tenant_directory.list_events(
                octx, cast.acme, state_reason(octx, REASON, tenant_id=cast.acme), limit=1
            )
        ).rows[0]
    assert (event.action, event.reason) == ("provisioning.resumed", REASON)
    async with cast.olga.octx() as octx:
        await tenant_directory.suspend_tenant(
            octx, cast.acme, state_reason(octx, "Unpaid, ticket 4471", tenant_id=cast.acme)
        )
    with pytest.raises(Conflict, match="jobs don’t run"):
        async with cast.sam.octx() as octx:
            await tenant_directory.resume_provisioning(
                octx, cast.acme, state_reason(octx, REASON, tenant_id=cast.acme)
            )


async def test_cross_tenant_attempts_are_counted(cast: Cast) -> None:
    for _ in range(3):
        with pytest.raises(NotFound):
            async with cast.gil.ctx(cast.ann.slug):
                pytest.fail("got in")
    async with cast.sam.octx() as octx:
        overview = await tenant_directory.get_security_overview(octx)
    mine = [event for event in overview.events if event.actor_id == cast.gil.user_id]
    assert [(event.kind, event.subject, event.count) for event in mine] == [
        ("cross_tenant_attempt", cast.ann.slug[:60], 3)
    ]
    assert overview.counts["cross_tenant_attempt"] >= 3


async def test_jobs_are_listed_by_status_with_tenant_names(cast: Cast) -> None:
    async with cast.olga.octx() as octx:
        listing = await tenant_directory.list_jobs(octx, "waiting", limit=100)
        assert {job.status for job in listing.page.rows} == {"waiting"}
        assert listing.tenant_names[cast.acme] == "Acme"
        with pytest.raises(Invalid, match="status doesn’t exist"):
            await tenant_directory.list_jobs(octx, "lost")
        first = await tenant_directory.list_jobs(octx, limit=1)
        second = await tenant_directory.list_jobs(octx, limit=1, after=first.page.next_cursor)
        assert second.page.rows[0].id < first.page.rows[0].id
        with pytest.raises(Invalid):
            await tenant_directory.list_jobs(octx, after=str(10**30))


async def test_custom_role_of_a_member_is_named(cast: Cast) -> None:
    async with cast.ann.ctx() as ctx:
        role = await roles.create(ctx, "Recruiter", "", set())
        (max_,) = (await members.list_members(ctx, query="max")).rows
        await members.set_role(ctx, max_.id, role.key, version=None)
    async with cast.olga.octx() as octx:
        listing = await tenant_directory.list_members(
            octx, cast.acme, state_reason(octx, "Ticket 4471", tenant_id=cast.acme)
        )
    assert {member.name: member.role for member in listing.rows} == {
        "Ann": "Owner",
        "Adam": "Admin",
        "Max": "Recruiter",
    }


# ── what members of a suspended tenant read ──────────────────────────────────────────────────────────────────────

MESSAGE = "Payments of this organisation are disputed."


async def suspend(cast: Cast, message: str) -> None:
    async with cast.olga.octx() as octx:
        reason = state_reason(octx, "Chargeback, ticket 4471", tenant_id=cast.acme)
        await tenant_directory.suspend_tenant(octx, cast.acme, reason, message=message)


async def refusal_for(person: Person) -> Refused:
    with pytest.raises(Refused) as refusal:
        async with person.ctx() as ctx:
            await tenants.get_frame_settings(ctx)
    return refusal.value


async def test_members_read_the_message_of_a_suspension_and_not_its_reason(cast: Cast) -> None:
    await suspend(cast, MESSAGE)
    refusal = await refusal_for(cast.max)
    assert (refusal.reason, refusal.detail) == (
        "tenant_suspended",
        f"This organisation is suspended. {MESSAGE}",
    )
    assert refusal.next_step.startswith("Ask an owner to contact support")
    assert (await refusal_for(cast.ann)).next_step.startswith("Contact support")


async def test_pages_and_programs_get_the_message_of_a_suspension(cast: Cast) -> None:
    await suspend(cast, MESSAGE)
    client = browser(cookie=cast.max.cookie)
    home = f"/t/{cast.max.slug}/home"
    page = await client.get(home)
    answer = await client.get(home, headers={"accept": "application/json"})
    assert (page.status_code, answer.status_code) == (403, 403)
    assert MESSAGE in page.text
    assert "Chargeback" not in page.text
    assert answer.json()["reason"] == "tenant_suspended"
    assert MESSAGE in answer.json()["detail"]


async def test_restoring_ends_the_message_and_a_later_suspension_has_its_own(cast: Cast) -> None:
    await suspend(cast, MESSAGE)
    async with cast.olga.octx() as octx:
        reason = state_reason(octx, "Paid, ticket 4471", tenant_id=cast.acme)
        await tenant_directory.restore_tenant(octx, cast.acme, reason)
    async with cast.ann.ctx() as ctx:
        await tenants.get_frame_settings(ctx)
        assert ctx.rights.suspension_message == ""
    await suspend(cast, "")
    assert (await refusal_for(cast.max)).detail == "This organisation is suspended."


async def test_message_of_a_suspension_is_in_the_audit_log(cast: Cast) -> None:
    await suspend(cast, MESSAGE)
    async with cast.olga.octx() as octx:
        reason = state_reason(octx, "Chargeback, ticket 4471", tenant_id=cast.acme)
        page = await tenant_directory.list_events(octx, cast.acme, reason)
    assert page.rows[0].details["message"] == MESSAGE


@pytest.mark.parametrize("message", ["x" * 301, "a\u202eb"])
async def test_message_that_can_not_be_shown_is_refused(cast: Cast, message: str) -> None:
    with pytest.raises(Invalid) as refusal:
        await suspend(cast, message)
    assert list(refusal.value.fields) == ["message"]


# ── test tenants ─────────────────────────────────────────────────────────────────────────────────────────────────


async def test_test_tenant_is_in_no_list_and_count_and_found_from_its_live_one(cast: Cast) -> None:
    async with cast.olga.octx() as octx:
        before = (await tenant_directory.get_overview(octx)).tenants_by_state
    async with cast.ann.ctx() as ctx:
        test_mode = await test_tenants.turn_on(ctx)
    async with cast.olga.octx() as octx:
        assert (await tenant_directory.get_overview(octx)).tenants_by_state == before
        for query in (test_mode.slug, test_mode.tenant_id):
            assert await search_names(octx, query) == []
        live = await tenant_directory.get_tenant(octx, cast.acme)
        test = await tenant_directory.get_tenant(octx, test_mode.tenant_id)
        assert (live.test_tenant_id, live.live_tenant_id) == (test_mode.tenant_id, "")
        assert (test.live_tenant_id, test.name) == (cast.acme, f"{live.name} (test)")
        assert await search_names(octx, test_mode.slug) == []


async def test_plan_and_bill_of_a_test_tenant_are_refused_to_operators(cast: Cast) -> None:
    async with cast.ann.ctx() as ctx:
        test_mode = await test_tenants.turn_on(ctx)
    async with cast.olga.octx() as octx:
        reason = state_reason(octx, REASON, tenant_id=test_mode.tenant_id)
        with pytest.raises(Refused, match="test_mode"):
            await tenant_access.set_billing_status(octx, test_mode.tenant_id, "grace", reason)
    async with cast.olga.octx() as octx:
        reason = state_reason(octx, REASON, tenant_id=test_mode.tenant_id)
        await tenant_directory.suspend_tenant(octx, test_mode.tenant_id, reason)
    async with cast.ann.ctx(test_mode.slug) as ctx:
        assert ctx.tenant_state == "suspended"
    async with cast.ann.ctx() as ctx:
        assert ctx.tenant_state == "active"
