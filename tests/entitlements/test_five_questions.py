"""One action refused for five causes: the page, the service and the explanation give the same reason."""

from datetime import timedelta

import pytest

from shared.access import actions
from shared.access.decision import decide
from shared.access.refusal_codes import Reason
from shared.backoffice import explanations, tenant_access
from shared.backoffice.reasons import state_reason
from shared.core.db import now
from shared.core.errors import Refused
from shared.tenancy import roles
from shared.tenancy.decision_history import Explanation
from tenant_app.pages.roles.state import RolesState
from tenant_app.shell import Shell
from tests.conftest import Cast, Person


async def get_reason(person: Person, used: int = 0) -> str:
    async with person.ctx() as ctx:
        return decide(ctx, actions.ROLE_CREATE, used=used).reason


async def explain_refusal(cast: Cast, person: Person) -> Explanation:
    async with cast.olga.octx() as octx:
        return await explanations.explain_access(octx, cast.acme, person.user_id, "role:create")


async def get_page_refusal(person: Person) -> str:
    """The explanation at the button that creates a role."""
    page = person.opens(RolesState, path="roles")
    await RolesState.event_handlers["load"].fn(page)
    shell = await page.get_state(Shell)
    return shell.refusals.get("role:create", "") or page.create_obstacle


async def test_action_is_refused_for_each_cause_with_its_own_reason(cast: Cast) -> None:
    tenant, soon = cast.acme, now() + timedelta(days=1)
    assert await get_reason(cast.ann) == Reason.ALLOWED
    assert (await explain_refusal(cast, cast.ann)).trace.decision.allowed

    async def check_refusal(expected: Reason, layer: str, person: Person = cast.ann) -> None:
        answer = await explain_refusal(cast, person)
        assert answer.trace.decision.reason == expected, answer.trace.lines
        assert answer.trace.decided_by == layer
        assert answer.detail
        assert answer.next_step
        with pytest.raises(Refused, match=expected) as caught:
            async with person.ctx() as ctx:
                await roles.create(ctx, "Recruiter", "", set())
        assert (caught.value.detail, caught.value.next_step) == (answer.detail, answer.next_step)
        assert await get_page_refusal(person) == f"{answer.detail} {answer.next_step}"
        assert expected not in seen
        seen.add(expected)

    seen: set[str] = set()
    await check_refusal(Reason.MISSING_PERMISSION, "permission", cast.max)

    async with cast.olga.octx() as octx:
        await tenant_access.set_flag_override(
            octx, tenant, "role_editor", False, state_reason(octx, "Trying it", tenant_id=tenant)
        )
    await check_refusal(Reason.FLAG_OFF, "flag")
    async with cast.olga.octx() as octx:
        await tenant_access.set_billing_status(
            octx, tenant, "read_only", state_reason(octx, "Did not pay", tenant_id=tenant)
        )
    await check_refusal(Reason.BILLING_READ_ONLY, "billing")
    async with cast.olga.octx() as octx:
        await tenant_access.set_billing_status(
            octx, tenant, "active", state_reason(octx, "Paid, ticket 4471", tenant_id=tenant)
        )
        await tenant_access.override_feature(
            octx,
            tenant,
            "custom_roles",
            False,
            state_reason(octx, "Trying it", tenant_id=tenant),
            ends_at=soon,
        )
    await check_refusal(Reason.NOT_IN_PLAN, "override")
    async with cast.olga.octx() as octx:
        await tenant_access.override_feature(
            octx,
            tenant,
            "custom_roles",
            True,
            state_reason(octx, "Again, ticket 4471", tenant_id=tenant),
            ends_at=soon,
        )
        await tenant_access.set_flag_override(
            octx, tenant, "role_editor", True, state_reason(octx, "Again, ticket 4471", tenant_id=tenant)
        )
        await tenant_access.override_limit(
            octx, tenant, "roles", 0, state_reason(octx, "None, ticket 4471", tenant_id=tenant), ends_at=soon
        )
    await check_refusal(Reason.LIMIT_REACHED, "limit")
    assert len(seen) == 5
