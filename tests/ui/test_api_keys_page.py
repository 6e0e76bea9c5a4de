"""The page of API keys: a secret that is shown once, forms, conflicts, plans."""

import re
from typing import Any

import pytest

from shared.access.permissions import Permission as P  # noqa: N817  as in the table of roles
from shared.api_keys import keys
from shared.core.errors import Invalid, NotFound, Refused
from shared.tenancy import members, roles, service_accounts
from shared.test_mode import test_tenants
from shared.ui.edit_conflict import DifferenceRow, EditConflict
from shared.ui.field_errors import FieldErrors
from tenant_app.pages.api_keys.state import SECRET_DIALOG, ApiKeysState
from tenant_app.shell import Shell
from tests.conftest import Cast, Person
from tests.support import api_clients
from tests.support.token_issuer import add_issuer

VIEW_MEMBERS = "View members, export the list of members, view invitations"
CREATION = {"name": "Nightly import", "holder": "me", "lifetime": "30", "may_member_read": "on"}


async def call(page: Any, name: str, *arguments: Any) -> Any:
    return await type(page).event_handlers[name].fn(page, *arguments)


async def open_page(person: Person) -> Any:
    page: Any = person.opens(ApiKeysState, path="api-keys")
    await call(page, "load")
    return page


def read_secret(event: Any) -> str:
    """The only key in the script that a handler answers with."""
    (secret,) = set(re.findall(r"bk_live_\w+", str(event)))
    return str(secret)


def state_text(page: Any) -> str:
    return str(page._get_root_state().dict(initial=True)) + str(page._backend_vars)


async def answers(secret: str) -> int:
    async with api_clients.client(secret) as client:
        return (await client.get("/api/v1/me")).status_code


async def create_account(person: Person, name: str = "Deployments", role: str = "member") -> str:
    async with person.ctx() as ctx:
        return (await service_accounts.create(ctx, name, role)).id


async def test_created_key_is_sent_once_and_is_in_no_state(cast: Cast) -> None:
    page = await open_page(cast.ann)
    await call(page, "open_dialog", "create")
    secret = read_secret(await call(page, "create_key", CREATION))
    assert await answers(secret) == 200
    assert secret not in state_text(page)
    assert (page.dialog, page.subject.name) == (SECRET_DIALOG, "Nightly import")
    assert [(row.name, row.holder, row.status, row.scopes_text) for row in page.rows] == [
        ("Nightly import", "You", "Active", "View members")
    ]
    await call(page, "close_dialog", False)
    assert secret not in state_text(page)


async def test_reloaded_page_closes_the_dialog_of_a_secret_that_it_no_longer_has(cast: Cast) -> None:
    page = await open_page(cast.ann)
    await call(page, "create_key", CREATION)
    page._get_root_state().is_hydrated = True  # as while the page is open
    await call(page, "load")
    assert page.dialog == SECRET_DIALOG, "a change by another person must not close it"
    page._get_root_state().is_hydrated = False
    await call(page, "load")
    assert page.dialog == ""


async def test_browser_cannot_open_the_dialog_of_a_secret(cast: Cast) -> None:
    page = await open_page(cast.ann)
    with pytest.raises(Invalid):
        await call(page, "open_dialog", SECRET_DIALOG, "")


async def test_key_of_a_service_account_has_the_limits_that_were_typed(cast: Cast) -> None:
    account_id = await create_account(cast.ann)
    page = await open_page(cast.ann)
    await call(page, "open_dialog", "create")
    assert page.holders == [("me", "Me"), (account_id, "Deployments (service account)")]
    limits = {"networks": "203.0.113.0/24\n198.51.100.7", "origins": "https://app.example.com"}
    await call(page, "create_key", CREATION | limits | {"holder": account_id, "lifetime": "never"})
    (row,) = page.rows
    assert (row.holder, row.holder_note, row.expires_at) == ("Deployments", "Service account", "")
    assert (row.networks, row.origins) == (
        "198.51.100.7/32\n203.0.113.0/24",
        "https://app.example.com",
    )


async def test_wrong_networks_are_shown_below_their_field(cast: Cast) -> None:
    page = await open_page(cast.ann)
    await call(page, "open_dialog", "create")
    assert await call(page, "create_key", CREATION | {"networks": "example.com"}) is None
    assert list((await page.get_state(FieldErrors)).errors) == ["networks"]
    assert (page.dialog, page.rows) == ("create", [])


async def test_boxes_of_scopes_that_the_reader_lacks_are_refused(cast: Cast) -> None:
    page = await open_page(cast.adam)
    await call(page, "open_dialog", "create")
    boxes = {box.field: box for group in page.groups for box in group.checkboxes}
    assert boxes["may_member_read"].label == VIEW_MEMBERS
    assert boxes["may_member_read"].refusal == ""
    assert boxes["may_billing_write"].refusal.startswith("You don’t have this permission")
    assert "may_owner_transfer" not in boxes
    with pytest.raises(Refused):
        await call(page, "create_key", CREATION | {"may_billing_write": "on"})


async def test_rotated_key_works_beside_the_former_one_until_the_overlap_ends(cast: Cast) -> None:
    program = await api_clients.create_key(cast.ann, P.MEMBER_READ)
    page = await open_page(cast.ann)
    await call(page, "open_dialog", "rotate", program.key_id)
    secret = read_secret(await call(page, "rotate_key", {"overlap": "1"}))
    assert secret not in state_text(page)
    assert (await answers(program.text), await answers(secret)) == (200, 200)
    (row,) = page.rows
    assert row.previous_hint.endswith(program.text[-4:])
    await call(page, "open_dialog", "rotate", program.key_id)
    newest = read_secret(await call(page, "rotate_key", {"overlap": "0"}))
    assert (await answers(secret), await answers(newest)) == (401, 200)
    assert page.rows[0].previous_hint == ""


async def test_revoked_key_is_refused_and_stays_in_the_list(cast: Cast) -> None:
    program = await api_clients.create_key(cast.ann, P.MEMBER_READ)
    page = await open_page(cast.ann)
    await call(page, "open_dialog", "revoke", program.key_id)
    assert await call(page, "revoke_key", {"confirm": "Nightly"}) is None, "the name does not match"
    await call(page, "revoke_key", {"confirm": "Nightly import"})
    assert await answers(program.text) == 401
    assert [(row.status, row.revoked_by) for row in page.rows] == [("Revoked", cast.ann.name)]


async def test_stale_change_of_a_key_shows_both_versions(cast: Cast) -> None:
    program = await api_clients.create_key(cast.ann, P.MEMBER_READ)
    page = await open_page(cast.ann)
    await call(page, "open_dialog", "change", program.key_id)
    async with cast.ann.ctx() as ctx:
        await keys.change(
            ctx,
            program.key_id,
            name="Import",
            scopes=[P.MEMBER_READ],
            networks=[],
            origins=[],
            version=1,
        )
    payload = {"name": "Weekly import", "may_member_read": "on", "row_version": "1"}
    assert await call(page, "change_key", payload) is None
    conflict = await page.get_state(EditConflict)
    assert conflict.differences == [DifferenceRow(label="Name", current="Import", submitted="Weekly import")]
    await call(page, "change_key", payload | {"row_version": str(conflict.version)})
    assert [row.name for row in page.rows] == ["Weekly import"]


async def test_service_account_is_created_changed_and_deleted_with_its_keys(cast: Cast) -> None:
    page = await open_page(cast.ann)
    await call(page, "create_account", {"name": "Deployments", "role": "viewer"})
    (account,) = page.accounts
    await call(page, "open_dialog", "create")
    secret = read_secret(await call(page, "create_key", CREATION | {"holder": account.id}))
    await call(page, "open_dialog", "change_account", account.id)
    await call(page, "change_account", {"name": "Releases", "role": "member", "row_version": "1"})
    assert [(row.name, row.role_name) for row in page.accounts] == [("Releases", "Member")]
    assert await answers(secret) == 200
    await call(page, "open_dialog", "end_account", account.id)
    await call(page, "end_account", {"confirm": "Releases"})
    assert (page.accounts, [row.status for row in page.rows]) == ([], ["Revoked"])
    assert await answers(secret) == 401


async def test_smaller_plan_shows_keys_and_refuses_new_ones_with_the_next_step(cast: Cast) -> None:
    program = await api_clients.create_key(cast.ann, P.MEMBER_READ)
    await cast.ann.gets("starter")
    page = await open_page(cast.ann)
    assert [row.name for row in page.rows] == ["Nightly import"]
    assert (page.upsell.feature, page.upsell.next_step) == (
        "API access",
        "Choose a larger plan in Billing.",
    )
    refusals = (await page.get_state(Shell)).refusals
    assert "doesn’t include API access" in refusals["api_key:create"]
    assert "api_key:revoke" not in refusals
    with pytest.raises(Refused):
        await call(page, "create_key", CREATION)
    await call(page, "open_dialog", "revoke", program.key_id)
    await call(page, "revoke_key", {"confirm": "Nightly import"})
    assert [row.status for row in page.rows] == ["Revoked"]


async def test_key_of_another_organisation_does_not_exist(cast: Cast) -> None:
    program = await api_clients.create_key(cast.gil, P.MEMBER_READ)
    page = await open_page(cast.ann)
    with pytest.raises(NotFound):
        await call(page, "open_dialog", "rotate", program.key_id)
    assert page.dialog == ""


async def test_test_key_is_created_from_the_live_page_and_listed_in_test_mode(cast: Cast) -> None:
    async with cast.ann.ctx() as ctx:
        test_mode = await test_tenants.turn_on(ctx)
    page = await open_page(cast.ann)
    assert page.test_slug == test_mode.slug
    event = await call(page, "create_key", {**CREATION, "mode": "test"})
    (secret,) = set(re.findall(r"bk_test_\w+", str(event)))
    assert await answers(secret) == 200
    assert page.rows == []
    test_page: Any = cast.ann.opens(ApiKeysState, slug=test_mode.slug, path="api-keys")
    await call(test_page, "load")
    assert [row.name for row in test_page.rows] == ["Nightly import"]
    shell = await test_page.get_state(Shell)
    assert shell.live_tenant == cast.acme
    assert "member:read" in shell.hidden_actions


async def test_key_of_another_person_offers_no_change_and_says_why(cast: Cast) -> None:
    await api_clients.create_key(cast.ann, P.MEMBER_READ, name="Of Ann")
    await api_clients.create_key(cast.adam, P.MEMBER_READ, name="Of Adam")
    page = await open_page(cast.adam)
    obstacles = {row.name: row.obstacle for row in page.rows}
    assert obstacles["Of Adam"] == ""
    assert obstacles["Of Ann"].startswith("It belongs to another person.")


ISSUER = {
    "name": "Company sign-in",
    "issuer": "https://id.acme.example/",
    "audience": "https://api.acme.example",
    "jwks_url": "https://id.acme.example/jwks.json",
    "tenant_claim": "organisation",
    "role": "admin",
    "role_claim": "groups",
    "role_map": "engineering = Member\nops = Admin",
    "accepts_tokens": "on",
    "algorithm_rs256": "on",
    "algorithm_eddsa": "on",
}


async def test_token_issuer_is_added_changed_and_removed(cast: Cast) -> None:
    page = await open_page(cast.ann)
    await call(page, "open_dialog", "create_issuer")
    assert [box.label for box in page.issuer.algorithms if box.is_checked] == ["RS256"]
    assert await call(page, "create_issuer", ISSUER | {"role_map": "engineering: Member"}) is None
    await call(page, "create_issuer", ISSUER)
    (row,) = page.issuers
    assert (row.status, row.role_name, row.role_map) == ("Active", "Admin", ISSUER["role_map"])
    assert [box.label for box in row.algorithms if box.is_checked] == ["RS256", "EdDSA"]
    assert page.organisation_id == cast.acme
    await call(page, "open_dialog", "change_issuer", row.id)
    off = ISSUER | {
        "accepts_tokens": "",
        "role": "member",
        "role_claim": "",
        "role_map": "",
        "row_version": "1",
    }
    await call(page, "change_issuer", off)
    assert [(row.status, row.role_name) for row in page.issuers] == [("Off", "Member")]
    await call(page, "open_dialog", "delete_issuer", row.id)
    assert await call(page, "delete_issuer", {"confirm": "Company"}) is None, "the name does not match"
    await call(page, "delete_issuer", {"confirm": "Company sign-in"})
    assert page.issuers == []


async def test_token_issuer_above_the_reader_says_why_it_stays(cast: Cast) -> None:
    await add_issuer(cast.ann, role="admin")
    async with cast.ann.ctx() as ctx:
        role = await roles.create(ctx, "Issuers", "", [P.API_KEY_READ, P.JWT_ISSUER_READ, P.JWT_ISSUER_WRITE])
        (adam,) = (await members.list_members(ctx, query=cast.adam.email)).rows
        await members.set_role(ctx, adam.id, role.key, version=None)
    page = await open_page(cast.adam)
    assert page.issuers[0].obstacle.startswith("It has permissions you don’t have.")
    assert [key for key, _, _ in page.role_choices] == [role.key]
