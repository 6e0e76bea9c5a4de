"""Drafts and versions of plans: concurrent changes, publication, retirement, plans for one tenant."""

import asyncio
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import sqlalchemy as sa

from shared.audit import audit_log
from shared.backoffice import catalog_drafts, tenant_access
from shared.backoffice.reasons import state_reason
from shared.core import db
from shared.core.context import Limit, OperatorCtx
from shared.core.db import now
from shared.core.errors import ChangedMeanwhile, Conflict, Invalid, NotFound, Refused
from shared.core.ids import new_id
from shared.entitlements import assignments, plan_content, rights_cache
from shared.entitlements.limits import LIMITS
from shared.entitlements.models import PlanVersion
from shared.entitlements.plan_content import PlanContent
from tests.conftest import Cast, Operating
from tests.support import factories

ROOMY: Mapping[str, Limit] = {name: Limit(7) for name in LIMITS}
PLENTY = PlanContent(14, frozenset({"audit_log"}), ROOMY)


def new_key() -> str:
    return f"k{new_id('x')[2:]}"[:30]


async def create_draft(
    operator: Operating, kind: str = "plan", *, for_tenant: str | None = None
) -> PlanVersion:
    async with operator.octx() as octx:
        return await catalog_drafts.create_plan(
            octx, kind, new_key(), "Startup", "For a first team.", for_tenant=for_tenant
        )


async def save_draft(operator: Operating, draft: PlanVersion, content: PlanContent = PLENTY) -> PlanVersion:
    async with operator.octx() as octx:
        return await catalog_drafts.save_draft(octx, draft.id, draft.revision, content)


async def publish_draft(
    octx: OperatorCtx,
    draft: PlanVersion,
    *,
    at: datetime | None = None,
    moves: bool = True,
    confirmed: str | None = None,
    reason: str = "As agreed",
) -> PlanVersion:
    """Confirms the current impact, unless another digest is given."""
    epoch = (await rights_cache.get_catalog(octx.session)).epoch
    seen = plan_content.compute_digest(draft, epoch, moves, at) if confirmed is None else confirmed
    request = catalog_drafts.PublishRequest(
        revision=draft.revision, reason=reason, effective_at=at, moves=moves, confirmed_digest=seen
    )
    return await catalog_drafts.publish(octx, draft.id, request)


async def publish_new_plan(
    operator: Operating, *, for_tenant: str | None = None, kind: str = "plan"
) -> PlanVersion:
    content = PLENTY if kind == "plan" else PlanContent(limits={"members": Limit(5)})
    draft = await save_draft(operator, await create_draft(operator, kind, for_tenant=for_tenant), content)
    async with operator.octx() as octx:
        return await publish_draft(octx, draft)


async def get_newest_event(operator: Operating) -> Any:
    async with operator.octx() as octx:
        (event,) = await audit_log.list_operator_events(octx, limit=1)
        return event


# ── a draft ──────────────────────────────────────────────────────────────────────────────────────────────────────


async def test_new_plan_is_a_draft_that_no_tenant_is_offered(cast: Cast) -> None:
    draft = await create_draft(cast.olga)
    assert (draft.number, draft.status, draft.revision) == (1, "draft", 1)
    event = await get_newest_event(cast.olga)
    assert (event.action, event.details["name"]) == ("plan.created", "Startup")
    async with cast.ann.ctx() as ctx:
        _, catalogue = await assignments.get_snapshot(ctx)
        assert draft.id not in catalogue.offers
        assert draft.plan_id not in [offer.plan_id for offer in catalogue.list_offers(now())]


async def test_saved_draft_is_published_and_audited_with_before_and_after(cast: Cast) -> None:
    draft = await save_draft(cast.olga, await create_draft(cast.olga))
    assert (draft.revision, plan_content.from_version(draft)) == (2, PLENTY)
    event = await get_newest_event(cast.olga)
    assert event.action == "draft.saved"
    assert (event.details["before"]["Audit log"], event.details["after"]["Audit log"]) == (
        "not included",
        "included",
    )
    assert event.details["after"]["Members"] == "7 seats"
    assert "CSV export" not in event.details["before"]
    async with cast.olga.octx() as octx:
        version = await publish_draft(octx, draft, moves=False)
    assert (version.status, version.published_by, version.moves, version.reason) == (
        "published",
        "Olga",
        False,
        "As agreed",
    )
    async with cast.ann.ctx() as ctx:
        _, catalogue = await assignments.get_snapshot(ctx)
        assert catalogue.offers[draft.id].limits["members"] == Limit(7)
    event = await get_newest_event(cast.olga)
    assert (event.action, event.reason, event.details["existing_tenants"]) == (
        *("draft.published", "As agreed", "stay"),
    )


async def test_draft_starts_from_the_newest_version_and_only_one_can_be_open(cast: Cast) -> None:
    first = await publish_new_plan(cast.olga)
    async with cast.olga.octx() as octx:
        second = await catalog_drafts.open_draft(octx, first.plan_id)
    assert (second.number, plan_content.from_version(second)) == (2, PLENTY)
    with pytest.raises(Conflict, match="Olga already opened a draft"):
        async with cast.olga.octx() as octx:
            await catalog_drafts.open_draft(octx, first.plan_id)
    async with cast.olga.octx() as octx:
        await catalog_drafts.discard_draft(octx, second.id, second.revision)
    assert (await get_newest_event(cast.olga)).action == "draft.discarded"
    with pytest.raises(NotFound):
        async with cast.olga.octx() as octx:
            await catalog_drafts.get_draft(octx, second.id)


async def test_catalog_lists_published_versions_and_the_open_draft(cast: Cast) -> None:
    first = await publish_new_plan(cast.olga)
    async with cast.olga.octx() as octx:
        second = await catalog_drafts.open_draft(octx, first.plan_id)
    async with cast.sam.octx() as octx:
        stock = await catalog_drafts.list_catalog(octx)
    (item,) = [entry for entry in stock.items if entry.plan.id == first.plan_id]
    assert [version.id for version in item.published] == [first.id]
    assert item.draft is not None
    assert item.draft.id == second.id
    assert "role_editor" in [flag.key for flag in stock.flags]


# ── two at once ──────────────────────────────────────────────────────────────────────────────────────────────────


async def test_saving_over_another_operators_change_is_refused_with_their_name(cast: Cast) -> None:
    draft = await create_draft(cast.olga)
    rosa = Operating(await factories.create_operator("Rosa", "billing"))
    await save_draft(rosa, draft)
    with pytest.raises(ChangedMeanwhile, match="Rosa changed this draft") as conflict:
        await save_draft(cast.olga, draft, PlanContent(limits=ROOMY))
    assert conflict.value.version == draft.revision + 1
    assert {(each.current, each.submitted) for each in conflict.value.differences if each.submitted}
    async with cast.olga.octx() as octx:
        _, now_ = await catalog_drafts.get_draft(octx, draft.id)
    assert plan_content.from_version(now_) == PLENTY
    for act in (catalog_drafts.discard_draft,):
        with pytest.raises(Conflict, match="Rosa"):
            async with cast.olga.octx() as octx:
                await act(octx, draft.id, draft.revision)


async def test_same_content_saved_twice_at_once_makes_one_revision(cast: Cast) -> None:
    draft = await create_draft(cast.olga)
    first, second = await asyncio.gather(save_draft(cast.olga, draft), save_draft(cast.olga, draft))
    assert first.revision == second.revision == 2


async def test_concurrent_saves_of_a_draft_succeed_once(cast: Cast) -> None:
    draft = await create_draft(cast.olga)
    tries = (save_draft(cast.olga, draft, PlanContent(days, limits=ROOMY)) for days in range(1, 6))
    outcomes = await asyncio.gather(*tries, return_exceptions=True)
    assert sorted(type(outcome).__name__ for outcome in outcomes) == ["ChangedMeanwhile"] * 4 + [
        "PlanVersion"
    ]


async def test_concurrent_opening_and_publishing_of_a_draft_succeed_once(cast: Cast) -> None:
    first = await publish_new_plan(cast.olga)

    async def open_draft() -> PlanVersion:
        async with cast.olga.octx() as octx:
            return await catalog_drafts.open_draft(octx, first.plan_id)

    outcomes = await asyncio.gather(*(open_draft() for _ in range(4)), return_exceptions=True)
    (draft,) = [outcome for outcome in outcomes if isinstance(outcome, PlanVersion)]
    assert [type(outcome) for outcome in outcomes].count(Conflict) == 3

    async def confirm_and_publish() -> PlanVersion:
        async with cast.olga.octx() as octx:
            return await publish_draft(octx, draft)

    outcomes = await asyncio.gather(*(confirm_and_publish() for _ in range(3)), return_exceptions=True)
    assert sorted(type(outcome).__name__ for outcome in outcomes) == ["Conflict", "Conflict", "PlanVersion"]


async def test_concurrent_creation_of_a_plan_key_succeeds_once(cast: Cast) -> None:
    key = new_key()

    async def create_plan() -> PlanVersion:
        async with cast.olga.octx() as octx:
            return await catalog_drafts.create_plan(octx, "plan", key, "Same", "")

    outcomes = await asyncio.gather(*(create_plan() for _ in range(3)), return_exceptions=True)
    assert sorted(type(outcome).__name__ for outcome in outcomes) == ["Conflict", "Conflict", "PlanVersion"]


# ── publishing ───────────────────────────────────────────────────────────────────────────────────────────────────


async def test_publishing_is_refused_when_the_impact_was_not_previewed(cast: Cast) -> None:
    draft = await save_draft(cast.olga, await create_draft(cast.olga))
    async with cast.olga.octx() as octx:
        epoch = (await rights_cache.get_catalog(octx.session)).epoch
    seen = plan_content.compute_digest(draft, epoch, True, None)
    for confirmed, moves in (("", True), ("0" * 64, True), (seen, False)):
        with pytest.raises(Conflict, match="you previewed the impact"):
            async with cast.olga.octx() as octx:
                await publish_draft(octx, draft, confirmed=confirmed, moves=moves)
    soon = now() + timedelta(days=3)
    with pytest.raises(Conflict, match="you previewed the impact"):
        async with cast.olga.octx() as octx:
            await publish_draft(octx, draft, confirmed=seen, at=soon)
    await publish_new_plan(cast.olga)  # something else changes what everybody is offered
    with pytest.raises(Conflict, match="you previewed the impact"):
        async with cast.olga.octx() as octx:
            await publish_draft(octx, draft, confirmed=seen)
    changed = await save_draft(cast.olga, draft, PlanContent(1, limits=ROOMY))
    with pytest.raises(Conflict, match="Olga changed this draft"):
        async with cast.olga.octx() as octx:
            await publish_draft(octx, draft)
    async with cast.olga.octx() as octx:
        assert (await publish_draft(octx, changed)).status == "published"


async def test_second_of_two_concurrent_publications_is_refused(cast: Cast) -> None:
    """Both were previewed in the same catalogue; the second would be published into another one."""
    first, second = [await save_draft(cast.olga, await create_draft(cast.olga)) for _ in range(2)]
    async with cast.olga.octx() as octx:
        epoch = (await rights_cache.get_catalog(octx.session)).epoch
    ready = asyncio.Barrier(2)

    async def confirm_and_publish(draft: PlanVersion) -> PlanVersion:
        async with cast.olga.octx() as octx:
            await ready.wait()
            return await publish_draft(
                octx, draft, confirmed=plan_content.compute_digest(draft, epoch, True, None)
            )

    outcomes = await asyncio.gather(
        confirm_and_publish(first), confirm_and_publish(second), return_exceptions=True
    )
    assert sorted(type(each).__name__ for each in outcomes) == ["Conflict", "PlanVersion"]


async def test_publishing_is_refused_for_a_past_date_and_without_a_reason(cast: Cast) -> None:
    draft = await save_draft(cast.olga, await create_draft(cast.olga))
    for at in (now() - timedelta(seconds=1), datetime(2026, 1, 1, tzinfo=UTC), datetime(2099, 1, 1)):  # noqa: DTZ001
        with pytest.raises(Invalid, match="past"):
            async with cast.olga.octx() as octx:
                await publish_draft(octx, draft, at=at)
    for reason in ("", "  \n", "x" * 301):
        with pytest.raises(Invalid, match="reason"):
            async with cast.olga.octx() as octx:
                await publish_draft(octx, draft, reason=reason)


async def test_published_version_cannot_be_changed(cast: Cast) -> None:
    version = await publish_new_plan(cast.olga)
    for act in (
        lambda octx: catalog_drafts.save_draft(
            octx, version.id, version.revision, PlanContent(1, limits=ROOMY)
        ),
        lambda octx: catalog_drafts.discard_draft(octx, version.id, version.revision),
        lambda octx: publish_draft(octx, version),
    ):
        with pytest.raises(Conflict, match="Olga published"):
            async with cast.olga.octx() as octx:
                await act(octx)
    for statement in (
        "update plan_version set trial_days = 3 where id = :id",
        "delete from plan_version where id = :id",
    ):
        with pytest.raises(sa.exc.DBAPIError, match="does not change"):
            async with db.transaction("operator") as session:
                await (await session.connection()).execute(sa.text(statement), {"id": version.id})


async def test_tenants_on_a_plan_move_at_the_date_or_stay(cast: Cast) -> None:
    first = await publish_new_plan(cast.olga, for_tenant=cast.acme)
    async with cast.olga.octx() as octx:
        await tenant_access.assign_plan(
            octx, cast.acme, first.id, state_reason(octx, "As agreed", tenant_id=cast.acme)
        )

    async def publish_next_version(members: int, *, moves: bool, at: datetime | None = None) -> None:
        async with cast.olga.octx() as octx:
            draft = await catalog_drafts.open_draft(octx, first.plan_id)
            more = PlanContent(14, frozenset(), {**ROOMY, "members": Limit(members)})
            draft = await catalog_drafts.save_draft(octx, draft.id, draft.revision, more)
            await publish_draft(octx, draft, moves=moves, at=at)

    async def members(at: datetime | None = None) -> int | None:
        async with cast.ann.ctx() as ctx:
            facts, _ = await assignments.get_snapshot(ctx, at)
            if at is None:
                assert ctx.rights.limits["members"] == facts.offer.limits["members"]
            return facts.offer.limits["members"].amount

    await publish_next_version(8, moves=False)
    assert await members() == 7
    await publish_next_version(9, moves=True, at=now() + timedelta(days=30))
    assert await members() == 7
    assert await members(now() + timedelta(days=31)) == 9
    await publish_next_version(10, moves=True)
    assert await members() == 10


async def test_retired_plan_is_offered_no_more_and_kept_by_its_tenants(cast: Cast) -> None:
    version = await publish_new_plan(cast.olga, for_tenant=cast.acme)
    async with cast.olga.octx() as octx:
        await tenant_access.assign_plan(
            octx, cast.acme, version.id, state_reason(octx, "As agreed", tenant_id=cast.acme)
        )
    with pytest.raises(Invalid, match="reason"):
        async with cast.olga.octx() as octx:
            await catalog_drafts.retire_plan(octx, version.plan_id, state_reason(octx, " "))
    async with cast.olga.octx() as octx:
        await catalog_drafts.retire_plan(octx, version.plan_id, state_reason(octx, "Nobody buys it"))
    event = await get_newest_event(cast.olga)
    assert (event.action, event.reason, event.object_id) == (
        "plan.retired",
        "Nobody buys it",
        version.plan_id,
    )
    async with cast.ann.ctx() as ctx:
        assert ctx.rights.plan_version == version.id
    async with cast.olga.octx() as octx:
        assert version.id not in [
            offer.id for offer in (await tenant_access.get_tenant_access(octx, cast.acme)).offers
        ]
    for act in (
        lambda octx: catalog_drafts.retire_plan(
            octx, version.plan_id, state_reason(octx, "Again, ticket 4471")
        ),
        lambda octx: catalog_drafts.open_draft(octx, version.plan_id),
    ):
        with pytest.raises(Conflict, match="retired"):
            async with cast.olga.octx() as octx:
                await act(octx)


async def test_fallback_plan_and_plan_with_an_open_draft_cannot_be_retired(cast: Cast) -> None:
    draft = await create_draft(cast.olga)
    with pytest.raises(Conflict, match="draft of Startup is open"):
        async with cast.olga.octx() as octx:
            await catalog_drafts.retire_plan(octx, draft.plan_id, state_reason(octx, "Never mind"))
    with pytest.raises(Conflict, match="free plan for organisations"):
        async with cast.olga.octx() as octx:
            await catalog_drafts.retire_plan(octx, "pln_free", state_reason(octx, "Never mind"))


# ── what cannot be meant ─────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("content", "field"),
    [
        (PlanContent(limits={**ROOMY, "members": Limit(-1)}), "members"),
        (PlanContent(limits={**ROOMY, "members": Limit(10**10)}), "members"),
        (PlanContent(limits={**ROOMY, "members": Limit(1.5)}), "members"),  # type: ignore[arg-type]
        (PlanContent(limits={**ROOMY, "members": Limit(True)}), "members"),
        (PlanContent(limits={**ROOMY, "members": Limit(5, hard="no")}), "members"),  # type: ignore[arg-type]
        (
            PlanContent(limits={limit_name: Limit(1) for limit_name in ROOMY if limit_name != "roles"}),
            "roles",
        ),
        (PlanContent(limits={**ROOMY, "rockets": Limit(5)}), "rockets"),
        (PlanContent(features=frozenset({"rockets"}), limits=ROOMY), "rockets"),
        (PlanContent(flags=frozenset({"rockets"}), limits=ROOMY), "rockets"),
        (PlanContent(-1, limits=ROOMY), "trial_days"),
        (PlanContent(366, limits=ROOMY), "trial_days"),
        (PlanContent(True, limits=ROOMY), "trial_days"),
    ],
)
async def test_invalid_draft_is_refused_with_its_field(cast: Cast, content: PlanContent, field: str) -> None:
    draft = await create_draft(cast.olga)
    with pytest.raises(Invalid) as caught:
        await save_draft(cast.olga, draft, content)
    assert list(caught.value.fields) == [field]
    async with cast.olga.octx() as octx:
        assert (await catalog_drafts.get_draft(octx, draft.id))[1].revision == 1


async def test_addon_may_only_add(cast: Cast) -> None:
    draft = await create_draft(cast.olga, "addon")
    for content in (
        PlanContent(limits={"members": Limit(0)}),
        PlanContent(14, limits={"members": Limit(5)}),
        PlanContent(flags=frozenset({"role_editor"})),
    ):
        with pytest.raises(Invalid):
            await save_draft(cast.olga, draft, content)
    with pytest.raises(Invalid, match="adds nothing"):
        async with cast.olga.octx() as octx:
            await publish_draft(octx, draft)
    draft = await save_draft(cast.olga, draft, PlanContent(limits={"members": Limit(5)}))
    async with cast.olga.octx() as octx:
        await publish_draft(octx, draft)
        await tenant_access.add_addon(
            octx, cast.acme, draft.id, 2, state_reason(octx, "Bought, ticket 4471", tenant_id=cast.acme)
        )
    async with cast.ann.ctx() as ctx:
        assert ctx.rights.limits["members"] == Limit(110)


@pytest.mark.parametrize(
    ("changed", "field"),
    [
        ({"name": "  "}, "name"),
        ({"name": "x" * 61}, "name"),
        ({"key": "Not A Key"}, "key"),
        ({"key": ""}, "key"),
        ({"key": "ключ"}, "key"),
        ({"key": "k\n"}, None),
        ({"sentence": "x" * 201}, "sentence"),
        ({"kind": "bundle"}, "kind"),
    ],
)
async def test_plan_with_invalid_texts_is_refused_with_the_field(
    cast: Cast, changed: dict[str, str], field: str | None
) -> None:
    words = {"kind": "plan", "key": new_key(), "name": "Team", "sentence": ""} | changed
    if field is None:  # surrounding space is no mistake
        async with cast.olga.octx() as octx:
            made_ = await catalog_drafts.create_plan(octx, **{**words, "key": f" {new_key()}\n"})
        assert made_.number == 1
        return
    with pytest.raises(Invalid) as caught:
        async with cast.olga.octx() as octx:
            await catalog_drafts.create_plan(octx, **words)
    assert list(caught.value.fields) == [field]


async def test_plan_for_an_unknown_tenant_is_refused(cast: Cast) -> None:
    with pytest.raises(NotFound, match="This tenant doesn’t exist"):
        async with cast.olga.octx() as octx:
            await catalog_drafts.create_plan(octx, "plan", new_key(), "Startup", "", for_tenant=new_id("ten"))


async def test_support_reads_the_catalog_and_cannot_change_it(cast: Cast) -> None:
    draft = await save_draft(cast.olga, await create_draft(cast.olga))
    for act in (
        lambda octx: catalog_drafts.create_plan(octx, "plan", new_key(), "Mine", ""),
        lambda octx: catalog_drafts.open_draft(octx, "pln_pro"),
        lambda octx: catalog_drafts.save_draft(octx, draft.id, draft.revision, PLENTY),
        lambda octx: catalog_drafts.discard_draft(octx, draft.id, draft.revision),
        lambda octx: catalog_drafts.retire_plan(octx, "pln_pro", state_reason(octx, "So, ticket 4471")),
        lambda octx: catalog_drafts.lock_catalog(octx),
        lambda octx: publish_draft(octx, draft),
    ):
        with pytest.raises(Refused, match="missing_permission"):
            async with cast.sam.octx() as octx:
                await act(octx)
    async with cast.sam.octx() as octx:
        assert (await catalog_drafts.get_draft(octx, draft.id))[1].id == draft.id


# ── plans for one tenant, plans for everybody ────────────────────────────────────────────────────────────────────


async def test_plans_of_two_tenants_with_the_same_key_stay_apart(cast: Cast) -> None:
    """Each tenant sees its own plan and the public ones, by row security and in the catalogue."""
    key, versions = new_key(), {}
    for tenant in (cast.acme, cast.globex):
        async with cast.olga.octx() as octx:
            draft = await catalog_drafts.create_plan(
                octx, "plan", key, "Startup", "Yours alone.", for_tenant=tenant
            )
            draft = await catalog_drafts.save_draft(octx, draft.id, draft.revision, PLENTY)
            versions[tenant] = (await publish_draft(octx, draft)).id
    for person, own_version, other in (
        (cast.ann, versions[cast.acme], versions[cast.globex]),
        (cast.gil, versions[cast.globex], versions[cast.acme]),
    ):
        async with person.ctx() as ctx:
            connection = await ctx.session.connection()
            seen = {row.id for row in await connection.execute(sa.text("select id from plan_version"))}
            assert own_version in seen
            assert other not in seen
            assert "plv_pro_1" in seen
            named = await connection.execute(
                sa.text("select for_tenant from plan where key = :key"), {"key": key}
            )
            assert [row.for_tenant for row in named] == [ctx.tenant_id]
            _, catalogue = await assignments.get_snapshot(ctx)
            assert own_version in catalogue.offers
            assert other not in catalogue.offers
        async with cast.olga.octx() as octx:
            offered = {
                offer.id for offer in (await tenant_access.get_tenant_access(octx, ctx.tenant_id)).offers
            }
            assert {own_version, "plv_pro_1"} <= offered
            assert other not in offered
        with pytest.raises(NotFound):
            async with cast.olga.octx() as octx:
                await tenant_access.assign_plan(
                    octx, ctx.tenant_id, other, state_reason(octx, "By mistake", tenant_id=ctx.tenant_id)
                )
    async with db.transaction() as session:  # nobody's transaction: nobody's plans
        rows = await (await session.connection()).execute(sa.text("select for_tenant from plan"))
        assert {row.for_tenant for row in rows} == {None}


async def test_assigning_another_tenants_plan_is_refused_by_the_service(cast: Cast) -> None:
    """The catalogue does not list it; here the version itself is handed over."""
    version = await publish_new_plan(cast.olga, for_tenant=cast.globex)
    async with cast.gil.ctx() as ctx:
        _, catalogue = await assignments.get_snapshot(ctx)
        offer = catalogue.offers[version.id]
    with pytest.raises(Invalid, match="isn’t available to this organisation"):
        async with cast.ann.ctx() as ctx:
            await assignments.assign_plan(ctx, offer, "By mistake")


@pytest.mark.parametrize(
    "statement",
    [
        "update plan set name = 'Mine' where id = 'pln_pro'",
        "insert into plan (id, key, name, sentence, kind, position, created_by)"
        " values ('pln_mine', 'mine', 'Mine', '', 'plan', 0, 'Me')",
        "delete from plan where id = 'pln_pro'",
        "update plan_version set trial_days = 365",
        "insert into plan_version (id, plan_id, number, status, features, limits, flags, created_by)"
        " values ('plv_mine', 'pln_pro', 99, 'draft', '{}', '{}', '{}', 'Me')",
        "delete from plan_version",
        "update entitlement_epoch set number = 1",
        "insert into flag_version (id, flag_id, number, rules, created_by, reason)"
        " values ('flv_mine', 'flg_role_editor', 99, '[]', 'Me', 'Why not')",
    ],
)
async def test_tenant_app_cannot_change_the_public_catalog(cast: Cast, statement: str) -> None:
    """With the database role of the tenants' app, in a transaction of an owner."""
    with pytest.raises(sa.exc.DBAPIError, match="permission denied"):
        async with cast.ann.ctx() as ctx:
            await (await ctx.session.connection()).execute(sa.text(statement))


async def test_draft_for_a_tenant_is_invisible_to_that_tenant(cast: Cast) -> None:
    draft = await create_draft(cast.olga, for_tenant=cast.acme)
    async with cast.ann.ctx() as ctx:
        statement = sa.text("select count(*) from plan_version where id = :id")
        rows = await (await ctx.session.connection()).execute(statement, {"id": draft.id})
        assert rows.scalar_one() == 0
