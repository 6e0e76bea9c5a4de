"""What an actor is told about its own decisions: as the services decide, for keys of people and of service accounts."""

from datetime import timedelta

import pytest

from shared.access.actions import ACTIONS
from shared.access.decision import decide
from shared.api_keys import keys
from shared.core.db import now
from shared.core.errors import Invalid, NotFound
from shared.entitlements.limits import find_usage
from shared.tenancy import entry, key_entry, members, own_decisions, service_accounts
from shared.tenancy.token_entry import authenticate_token
from tests.conftest import Cast, Person
from tests.support import api_clients, token_issuer


async def ask(text: str, action: str, **question: object) -> own_decisions.OwnDecision:
    admission = await key_entry.authenticate_key(text, address="127.0.0.1")
    async with key_entry.enter_key(admission) as ctx:
        return await own_decisions.decide(ctx, action, **question)  # type: ignore[arg-type]


async def create_account_key(owner: Person, role: str, *scopes: str) -> tuple[str, str]:
    """The id of a new service account, and the text of its key."""
    async with owner.ctx() as ctx:
        account = await service_accounts.create(ctx, "Nightly import", role)
        request = keys.KeyRequest(name="Import", scopes=scopes, service_account_id=account.id)
        return account.id, (await keys.create(ctx, request)).text


@pytest.mark.parametrize("plan", ["", "starter"], ids=["business", "starter"])
async def test_every_decision_is_the_one_of_the_services(cast: Cast, plan: str) -> None:
    program = await api_clients.create_key(cast.adam)
    if plan:
        await cast.ann.gets(plan)
    admission = await key_entry.authenticate_key(program.text, address="127.0.0.1")
    async with key_entry.enter_key(admission) as ctx:
        for action in ACTIONS.values():
            usage = find_usage(action.limit)
            used = await usage.now(ctx) if usage is not None else None
            answer = await own_decisions.decide(ctx, action.name)
            expected = decide(ctx, action, used=used)
            reason = "missing_scope" if expected.reason == "missing_permission" else expected.reason
            assert (answer.allowed, answer.reason) == (expected.allowed, reason), action.name


async def test_missing_scope_is_told_with_the_key_as_source(cast: Cast) -> None:
    program = await api_clients.create_key(cast.ann, "access:read", "home:read")
    decision = await ask(program.text, "member:invite")
    assert (decision.allowed, decision.reason) == (False, "missing_scope")
    assert decision.layers is not None
    assert (decision.layers[0].decides, decision.layers[0].source_id) == (True, program.key_id)
    assert "member:invite" in decision.layers[0].explanation


async def test_past_decision_uses_the_role_of_that_time(cast: Cast) -> None:
    program = await api_clients.create_key(cast.adam)
    before = now()
    async with cast.ann.ctx() as ctx:
        page = await members.list_members(ctx, query="Adam")
        await members.set_role(ctx, page.rows[0].id, "viewer", version=None)
    assert (await ask(program.text, "member:invite", at=before)).allowed
    assert not (await ask(program.text, "member:invite")).allowed


async def test_layers_are_hidden_without_the_right_to_see_the_plan(cast: Cast) -> None:
    program = await api_clients.create_key(cast.ann, "home:read", "member:read")
    decision = await ask(program.text, "member:read")
    assert decision.allowed
    assert decision.layers is None


async def test_service_account_is_told_its_own_decision(cast: Cast) -> None:
    account_id, text = await create_account_key(
        cast.ann, "admin", "access:read", "home:read", "member:invite"
    )
    decision = await ask(text, "member:invite")
    assert decision.allowed
    assert decision.layers is not None
    assert decision.layers[0].source_id == account_id
    assert not (await ask(text, "member:remove")).allowed


async def test_token_is_told_its_own_decision_for_now(cast: Cast, monkeypatch: pytest.MonkeyPatch) -> None:
    issuer = token_issuer.TokenIssuer(cast.acme)
    issuer.publish_to(monkeypatch)
    row = await token_issuer.add_issuer(cast.ann, role="admin")
    async with key_entry.enter_key(await authenticate_token(issuer.sign())) as ctx:
        for name in ("member:read", "owner:transfer"):
            answer = await own_decisions.decide(ctx, name)
            assert answer.allowed is decide(ctx, ACTIONS[name]).allowed
        assert answer.layers is not None
        assert answer.layers[0].source_id == row.id
        with pytest.raises(NotFound, match="isn’t recorded"):
            await own_decisions.decide(ctx, "member:read", at=now())


async def test_time_before_the_last_change_of_a_service_account_is_refused(cast: Cast) -> None:
    account_id, text = await create_account_key(cast.ann, "admin", "home:read")
    before = now()
    async with cast.ann.ctx() as ctx:
        await service_accounts.change(ctx, account_id, name="Import", role="member", version=None)
    with pytest.raises(NotFound, match="isn’t recorded"):
        await ask(text, "home:read", at=before)
    assert (await ask(text, "home:read", at=now())).allowed


@pytest.mark.parametrize(("action", "days"), [("no:such", 0), ("home:read", 1)], ids=["unknown", "future"])
async def test_question_that_has_no_answer_is_refused(cast: Cast, action: str, days: int) -> None:
    async with cast.ann.ctx() as ctx:
        with pytest.raises(Invalid):
            await own_decisions.decide(ctx, action, at=now() + timedelta(days=days))


async def test_time_before_the_organisation_is_refused(cast: Cast) -> None:
    async with entry.enter_tenant(cast.ann.cookie, cast.ann.slug) as ctx:
        with pytest.raises(NotFound, match="didn’t exist"):
            await own_decisions.decide(ctx, "home:read", at=now() - timedelta(days=4_000))
