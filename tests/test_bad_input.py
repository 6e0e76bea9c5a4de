"""Whatever comes in: an answer or a refusal in a sentence, never another exception.

Every service is called by every role that may, with texts that real people and other visitors send.
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from starlette.requests import Request

from shared.audit.audit_filter import AuditFilter
from shared.backoffice import explanations, recent_refusals, tenant_access, tenant_directory
from shared.backoffice.reasons import state_reason
from shared.core import crypto, rate_limits
from shared.core.context import Ctx, OperatorCtx
from shared.core.errors import DomainError, Invalid
from shared.core.ids import new_id
from shared.identity import email_addresses, passwords, sign_in, users
from shared.identity.realms import OPERATOR, USER
from shared.tenancy import (
    audit_reader,
    authentication,
    entry,
    invitations,
    members,
    notifications,
    onboarding_checklist,
    provisioning,
    signups,
    tenants,
    user_tenants,
)
from shared.web import forms
from tests.conftest import Cast
from tests.support.sizes import size

PASSWORD = "seven lanterns over quiet water"
ODD = (
    "",
    " ",
    "\x00",
    "a\x00b@acme.test",
    "\ud800",
    "\udfff tail",
    "x" * 10_000,
    "x" * 10_000 + "@acme.test",
    "🚀" * 50,
    "👩‍👩‍👧‍👦",
    "\u202egnp.exe",
    "\r\nBcc: all@acme.test",
    "' or 1=1 --",
    "%_\\",
    "{}",
    "null",
    "-1",
    "9" * 400,
    "2026-02-30",
    "ten_acme",
    "İ",
    "ﷺ" * 80,
    "\ufeff",
    "../../etc/passwd",
)
MEMBER: dict[str, Callable[[Ctx, str], Awaitable[Any]]] = {
    "invite": lambda ctx, text: invitations.invite(ctx, text, "viewer"),
    "invite as": lambda ctx, text: invitations.invite(ctx, "zoe@acme.test", text),
    "revoke": invitations.revoke,
    "resend": invitations.resend,
    "search members": lambda ctx, text: members.list_members(ctx, query=text),
    "narrow members": lambda ctx, text: members.list_members(ctx, role=text),
    "sort members": lambda ctx, text: members.list_members(ctx, sort=text),
    "page of members": lambda ctx, text: members.list_members(ctx, after=text),
    "set role": lambda ctx, text: members.set_role(ctx, text, "viewer", version=None),
    "set role to": lambda ctx, text: members.set_role(ctx, "mem_x", text, version=None),
    "deactivate": members.deactivate,
    "reactivate": members.reactivate,
    "remove": members.remove,
    "hand over": lambda ctx, text: members.transfer_ownership(ctx, text, ctx.tenant_name),
    "hand over by": lambda ctx, text: members.transfer_ownership(ctx, "mem_x", text),
    "rename": lambda ctx, text: tenants.rename(ctx, text, version=None),
    "move": lambda ctx, text: tenants.change_slug(ctx, text, version=None),
    "colour": lambda ctx, text: tenants.set_colour(ctx, text, version=None),
    "tick": onboarding_checklist.complete_item,
    "read": notifications.mark_read,
    "actor": lambda ctx, text: audit_reader.list_events(ctx, AuditFilter(actor=text)),
    "action": lambda ctx, text: audit_reader.list_events(ctx, AuditFilter(action=text)),
    "all of a noun": lambda ctx, text: audit_reader.list_events(ctx, AuditFilter(action=text + ".")),
    "object": lambda ctx, text: audit_reader.list_events(ctx, AuditFilter(object_id=text)),
    "request": lambda ctx, text: audit_reader.list_events(ctx, AuditFilter(request_id=text)),
    "page of events": lambda ctx, text: audit_reader.list_events(ctx, after=text),
}
OPERATORS: dict[str, Callable[[OperatorCtx, Cast, str], Awaitable[Any]]] = {
    "search": lambda octx, cast, text: tenant_directory.search_tenants(octx, text),
    "state": lambda octx, cast, text: tenant_directory.search_tenants(octx, state=text),
    "sort": lambda octx, cast, text: tenant_directory.search_tenants(octx, sort=text),
    "page": lambda octx, cast, text: tenant_directory.search_tenants(octx, after=text),
    "get": lambda octx, cast, text: tenant_directory.get_tenant(octx, text),
    "steps": lambda octx, cast, text: tenant_directory.list_provisioning_steps(octx, text),
    "members of": lambda octx, cast, text: tenant_directory.list_members(
        octx, text, state_reason(octx, "a reason", tenant_id=text)
    ),
    "page of members": lambda octx, cast, text: tenant_directory.list_members(
        octx, cast.acme, state_reason(octx, "why, ticket 4471", tenant_id=cast.acme), after=text
    ),
    "members because": lambda octx, cast, text: tenant_directory.list_members(
        octx, cast.acme, state_reason(octx, text, tenant_id=cast.acme)
    ),
    "events because": lambda octx, cast, text: tenant_directory.list_events(
        octx, cast.acme, state_reason(octx, text, tenant_id=cast.acme)
    ),
    "everything because": lambda octx, cast, text: tenant_directory.list_all_events(
        octx, state_reason(octx, text), AuditFilter()
    ),
    "everything of": lambda octx, cast, text: tenant_directory.list_all_events(
        octx, state_reason(octx, "a reason"), AuditFilter(tenant_id=text)
    ),
    "suspend": lambda octx, cast, text: tenant_directory.suspend_tenant(
        octx, text, state_reason(octx, "a reason", tenant_id=text)
    ),
    "suspend because": lambda octx, cast, text: tenant_directory.suspend_tenant(
        octx, cast.globex, state_reason(octx, text, tenant_id=cast.globex)
    ),
    "restore because": lambda octx, cast, text: tenant_directory.restore_tenant(
        octx, cast.globex, state_reason(octx, text, tenant_id=cast.globex)
    ),
    "resume because": lambda octx, cast, text: tenant_directory.resume_provisioning(
        octx, cast.acme, state_reason(octx, text, tenant_id=cast.acme)
    ),
    "jobs": lambda octx, cast, text: tenant_directory.list_jobs(octx, text),
    "one request": lambda octx, cast, text: tenant_directory.list_events(
        octx, cast.acme, state_reason(octx, "why, ticket 4471", tenant_id=cast.acme), request_id=text
    ),
    "why in": lambda octx, cast, text: explanations.explain_access(octx, text, "", "home:read"),
    "why whom": lambda octx, cast, text: explanations.explain_access(octx, cast.acme, text, "home:read"),
    "why what": lambda octx, cast, text: explanations.explain_access(octx, cast.acme, "", text),
    "why on": lambda octx, cast, text: explanations.explain_access(
        octx, cast.acme, "", "home:read", plan=text
    ),
    "whom to ask about": lambda octx, cast, text: explanations.list_choices(
        octx, cast.acme, text, include_user_id=text
    ),
    "refused": lambda octx, cast, text: recent_refusals.list_recent(octx, cast.acme, request_id=text),
    "refused what": lambda octx, cast, text: recent_refusals.list_recent(octx, cast.acme, action=text),
    "effective": lambda octx, cast, text: tenant_access.get_tenant_access(octx, text),
    "plan of": lambda octx, cast, text: tenant_access.assign_plan(
        octx, cast.acme, text, state_reason(octx, "a reason", tenant_id=cast.acme)
    ),
    "plan because": lambda octx, cast, text: tenant_access.assign_plan(
        octx, cast.acme, "plv_pro_1", state_reason(octx, text, tenant_id=cast.acme)
    ),
    "add-on": lambda octx, cast, text: tenant_access.add_addon(
        octx, cast.acme, text, 1, state_reason(octx, "a reason", tenant_id=cast.acme)
    ),
    "end": lambda octx, cast, text: tenant_access.end_assignment(
        octx, cast.acme, text, state_reason(octx, "a reason", tenant_id=cast.acme)
    ),
    "bill": lambda octx, cast, text: tenant_access.set_billing_status(
        octx, cast.acme, text, state_reason(octx, "a reason", tenant_id=cast.acme)
    ),
    "flag": lambda octx, cast, text: tenant_access.set_flag_override(
        octx, cast.acme, text, True, state_reason(octx, "a reason", tenant_id=cast.acme)
    ),
    "trait": lambda octx, cast, text: tenant_access.set_trait(
        octx, cast.acme, text, "yes", state_reason(octx, "a reason", tenant_id=cast.acme)
    ),
    "trait of": lambda octx, cast, text: tenant_access.set_trait(
        octx, cast.acme, "region", text, state_reason(octx, "a reason", tenant_id=cast.acme)
    ),
}
OUTSIDE: dict[str, Callable[[Cast, str], Awaitable[Any]]] = {
    "sign up": lambda cast, text: signups.sign_up(text, PASSWORD, "Zoe", "Harbour"),
    "sign up with": lambda cast, text: signups.sign_up(f"{new_id('x')}@a.test", text, "Zoe", "Harbour"),
    "sign up as": lambda cast, text: signups.sign_up(f"{new_id('x')}@a.test", PASSWORD, text, "Harbour"),
    "sign up for": lambda cast, text: signups.sign_up(f"{new_id('x')}@a.test", PASSWORD, "Zoe", text),
    "sign in": lambda cast, text: sign_in.check_password(USER, text, PASSWORD),
    "sign in with": lambda cast, text: sign_in.check_password(USER, cast.ann.email, text),
    "sign in as operator": lambda cast, text: sign_in.check_password(OPERATOR, text, PASSWORD),
    "verify": lambda cast, text: signups.verify_email(text, ""),
    "look at an invitation": lambda cast, text: invitations.get_offer(text),
    "accept": lambda cast, text: invitations.accept(text, cast.carl.user_id),
    "accept for": lambda cast, text: invitations.accept(
        crypto.sign(invitations.SIGNATURE_PURPOSE, cast.acme, "inv_x", "1"), text
    ),
    "enter": lambda cast, text: _enter(cast.ann.cookie, text),
    "enter with": lambda cast, text: _enter(text, cast.ann.slug),
    "peek": lambda cast, text: authentication.authenticate(cast.ann.cookie, text),
    "peek with": lambda cast, text: authentication.authenticate(
        f"{USER.session_cookie}={text}", cast.ann.slug
    ),
    "peek as operator": lambda cast, text: authentication.authenticate_operator(
        f"{OPERATOR.session_cookie}={text}"
    ),
    "places": lambda cast, text: user_tenants.list_user_tenants(text),
    "forgot": lambda cast, text: _request_reset(text),
}


async def _enter(cookies: str, slug: str) -> None:
    async with entry.enter_tenant(cookies, slug):
        pass


async def _request_reset(email: str) -> None:
    async with entry.db.transaction() as session:
        await users.request_reset(session, email)


async def check_answer(call: Awaitable[Any]) -> None:
    message = ""
    try:
        await call
    except DomainError as refusal:
        message = refusal.detail
    assert message[-1:] in ("", ".", "”"), message
    assert "\x00" not in message
    assert len(message) < 600


async def call_in_tenant(cast: Cast, verb: Callable[[Ctx, str], Awaitable[Any]], text: str) -> None:
    async with cast.ann.ctx() as ctx:
        await verb(ctx, text)


async def call_as_operator(
    cast: Cast, verb: Callable[[OperatorCtx, Cast, str], Awaitable[Any]], text: str
) -> None:
    async with cast.olga.octx() as octx:
        await verb(octx, cast, text)


@pytest.mark.parametrize("verb", MEMBER)
async def test_odd_text_is_answered_or_refused_in_a_tenant(cast: Cast, verb: str) -> None:
    for text in ODD:
        await rate_limits.clear_counts()
        await check_answer(call_in_tenant(cast, MEMBER[verb], text))


@pytest.mark.parametrize("verb", OPERATORS)
async def test_odd_text_is_answered_or_refused_for_operators(cast: Cast, verb: str) -> None:
    for text in ODD:
        await check_answer(call_as_operator(cast, OPERATORS[verb], text))


@pytest.mark.parametrize("verb", OUTSIDE)
async def test_odd_text_is_answered_or_refused_before_sign_in(cast: Cast, verb: str) -> None:
    odd = ODD if "sign" not in verb else ODD[:12]  # hashing takes its time
    for text in odd:
        await check_answer(OUTSIDE[verb](cast, text))


async def test_odd_reason_is_accepted_by_provisioning(cast: Cast) -> None:
    async def resume(ctx: Ctx, text: str) -> None:
        await provisioning.resume(ctx, text)

    for text in ODD:
        await check_answer(call_in_tenant(cast, resume, text))


# ── generated ────────────────────────────────────────────────────────────────────────────────────────────────────

ANY = st.text(st.characters(exclude_categories=[]), max_size=400)


@settings(max_examples=size("fuzz.texts"))
@given(ANY)
def test_cleaned_text_is_stable_or_refused(text: str) -> None:
    for clean in (
        email_addresses.parse_address,
        users.clean_name,
        tenants.naming.clean_name,
        tenants.naming.clean_slug,
    ):
        try:
            kept = clean(text)
        except Invalid:
            continue
        assert kept == clean(kept)
        assert "\x00" not in kept
        kept.encode()
    email_addresses.normalise_for_lookup(text).encode()


@settings(max_examples=size("fuzz.passwords"), deadline=None)
@given(ANY)
def test_password_problems_are_sentences_for_any_text(text: str) -> None:
    for problem in asyncio.run(passwords.find_problems(text, ["Zoe", "zoe@harbour.test"])):
        assert problem.endswith(".")


@settings(max_examples=size("fuzz.bodies"), deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    st.binary(max_size=300),
    st.sampled_from([forms.FORM_TYPE, forms.MULTIPART_TYPE, "text/plain", "", "\xff;;"]),
)
def test_request_body_is_read_or_refused(body: bytes, kind: str) -> None:
    state: dict[str, Any] = {}

    async def send() -> dict[str, Any]:
        state["body_read"] = True  # as the edge of both apps notes it
        return {"type": "http.request", "body": body, "more_body": False}

    headers = [(b"content-type", kind.encode("latin-1")), (b"content-length", str(len(body)).encode())]
    for read in (forms.read, forms.read_logo):
        state.clear()
        scope = {"type": "http", "method": "POST", "path": "/", "query_string": b"", "headers": headers}
        asyncio.run(check_answer(read(Request(scope | {"state": state}, send))))  # type: ignore[operator]
