"""Token issuers of a tenant: whose JSON web tokens the API accepts, and which role they give.

A member can't let an issuer give more than they have themselves, and a token makes no owner.
`tenancy.token_entry.authenticate_token` lets tokens in. A change takes effect on the next request.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, fields
from datetime import datetime
from typing import Any

from shared.access import policy
from shared.access.roles import OWNER
from shared.api_keys import issuer_repository as repository
from shared.api_keys.actions import JWT_ISSUER_DELETE, JWT_ISSUER_READ, JWT_ISSUER_WRITE
from shared.api_keys.models import JwtIssuer
from shared.audit import audit_log
from shared.core import live_events, rows
from shared.core.context import Ctx
from shared.core.displayed_text import clean_line
from shared.core.errors import Conflict, Invalid, NotFound
from shared.core.ids import new_id
from shared.core.paging import Page, build_page, clamp_limit, map_page
from shared.core.versions import advance_version, require_version
from shared.tenancy import roles, seats, signing_key_fetch
from shared.tenancy.token_texts import ALGORITHMS, MAX_TEXT_LENGTH, REGISTERED_CLAIMS

TOPIC = "api_keys"  # of open pages
MAX_ISSUERS = 20  # in one tenant
MAX_NAME_LENGTH = 60
MAX_URL_LENGTH = 500
MAX_CLAIM_LENGTH = 100
MAX_MAPPED_ROLES = 50


@dataclass(frozen=True, slots=True, kw_only=True)
class MappedRole:
    """`value`: of the role claim. `role`: key."""

    value: str
    role: str


@dataclass(frozen=True, slots=True, kw_only=True)
class IssuerRequest:
    """What an issuer is to be."""

    name: str
    issuer: str  # the claim `iss`
    audience: str
    jwks_url: str
    algorithms: Collection[str]
    tenant_claim: str  # name of the claim whose value is the tenant's id
    role: str  # key of the highest role
    role_claim: str = ""
    role_map: Sequence[MappedRole] = ()  # in order of priority
    enabled: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class IssuerView:
    id: str
    name: str
    issuer: str
    audience: str
    jwks_url: str
    algorithms: tuple[str, ...]
    tenant_claim: str
    role: str
    role_claim: str
    role_map: tuple[MappedRole, ...]
    enabled: bool
    created_by_name: str
    created_at: datetime
    version: int


async def list_issuers(ctx: Ctx, *, after: str = "", limit: int = 50) -> Page[IssuerView]:
    """Newest first. Raises Invalid for an unknown page."""
    policy.require(ctx, JWT_ISSUER_READ)
    limit = clamp_limit(limit)
    issuers = await repository.list_issuers(ctx, after=after, limit=limit + 1)
    return map_page(build_page(issuers, limit=limit, cursor_of=repository.get_cursor), _build_view)


async def get(ctx: Ctx, issuer_id: str) -> IssuerView:
    """Raises NotFound."""
    policy.require(ctx, JWT_ISSUER_READ)
    issuer = await ctx.session.get(JwtIssuer, (ctx.tenant_id, issuer_id))
    if issuer is None:
        raise _not_found()
    return _build_view(issuer)


async def create(ctx: Ctx, request: IssuerRequest) -> IssuerView:
    """Raises Invalid, Conflict for a taken audience and above `MAX_ISSUERS`, Refused for roles above the actor's."""
    policy.require(ctx, JWT_ISSUER_WRITE)
    values = _clean(request)
    await seats.lock_membership(ctx, JWT_ISSUER_WRITE)
    await _require_assignable(ctx, request)
    if await repository.count_issuers(ctx) >= MAX_ISSUERS:
        raise Conflict(f"{MAX_ISSUERS} token issuers are in use.", "Remove one that you no longer need.")
    await _require_free_audience(ctx, request)
    issuer = JwtIssuer(
        tenant_id=ctx.tenant_id,
        id=new_id("jwi"),
        created_by_name=ctx.actor.name,
        **values,
    )
    ctx.session.add(issuer)
    audit_log.record(
        ctx, "jwt_issuer.created", issuer.id, after=_audit_fields(issuer), issuer_name=issuer.name
    )
    await _publish_change(ctx)
    await ctx.session.flush()
    return _build_view(issuer)


async def change(ctx: Ctx, issuer_id: str, request: IssuerRequest, *, version: int | None) -> IssuerView:
    """`version`: of the issuer that was read. Raises as `create`, NotFound, ChangedMeanwhile."""
    policy.require(ctx, JWT_ISSUER_WRITE)
    values = _clean(request)
    await seats.lock_membership(ctx, JWT_ISSUER_WRITE)
    issuer = await _lock(ctx, issuer_id)
    policy.require_grantable(ctx, await roles.get_permissions(ctx, issuer.role))
    await _require_assignable(ctx, request)
    before = _audit_fields(issuer)
    pairs = {_label(name): (before[name], value) for name, value in values.items()}
    require_version(issuer, version, "this token issuer", pairs)
    await _require_free_audience(ctx, request, other_than=issuer.id)
    if values != before:
        for name, value in values.items():
            setattr(issuer, name, value)
        advance_version(issuer, ctx.actor.name)
        ctx.session.add(issuer)
        audit_log.record(
            ctx,
            "jwt_issuer.changed",
            issuer.id,
            before=before,
            after=_audit_fields(issuer),
            issuer_name=issuer.name,
        )
        await _publish_change(ctx)
    return _build_view(issuer)


async def delete(ctx: Ctx, issuer_id: str) -> None:
    """Its tokens are refused from the next request on. Raises NotFound, Refused for a role above the actor's."""
    policy.require(ctx, JWT_ISSUER_DELETE)
    await seats.lock_membership(ctx, JWT_ISSUER_DELETE)
    issuer = await _lock(ctx, issuer_id)
    policy.require_grantable(ctx, await roles.get_permissions(ctx, issuer.role))
    await ctx.session.delete(issuer)
    audit_log.record(
        ctx, "jwt_issuer.deleted", issuer.id, before=_audit_fields(issuer), issuer_name=issuer.name
    )
    await _publish_change(ctx)


async def _lock(ctx: Ctx, issuer_id: str) -> JwtIssuer:
    issuer = await rows.lock(ctx, JwtIssuer, issuer_id)
    if issuer is None:
        raise _not_found()
    return issuer


async def _require_assignable(ctx: Ctx, request: IssuerRequest) -> None:
    """Raises Invalid for the owner's role and a mapped role above the highest one, Refused for one above the actor's."""
    highest = await roles.get_permissions(ctx, request.role) or frozenset[str]()
    for role in sorted({request.role, *(entry.role for entry in request.role_map)}):
        if role == OWNER:
            text = "A token can’t make an owner."
            raise Invalid(text, "Choose another role.", fields={"role": text})
        await roles.require_assignable(ctx, role)
        if not (await roles.get_permissions(ctx, role) or frozenset[str]()) <= highest:
            text = f"{await roles.get_name(ctx, role)} may do more than the highest role."
            raise Invalid(
                text, "Map a smaller role, or choose a higher one for all.", fields={"role_map": text}
            )


async def _require_free_audience(ctx: Ctx, request: IssuerRequest, *, other_than: str = "") -> None:
    if await repository.is_audience_taken(ctx, request.issuer, request.audience, other_than=other_than):
        raise Conflict(
            "This issuer is set up for this audience already.", "Change that one, or use another audience."
        )


def _clean(request: IssuerRequest) -> dict[str, Any]:  # values of columns of several types
    """The columns of the row, as `_audit_fields` has them. Raises Invalid."""
    name = clean_line(
        request.name, noun="name", missing="Enter a name.", max_length=MAX_NAME_LENGTH, fields=("name",)
    )
    problems = {
        field: problem
        for field, problem in {
            "issuer": _find_text_problem(request.issuer, MAX_TEXT_LENGTH),
            "audience": _find_text_problem(request.audience, MAX_TEXT_LENGTH),
            "jwks_url": _find_url_problem(request.jwks_url),
            "algorithms": _find_algorithm_problem(request.algorithms),
            "tenant_claim": _find_claim_problem(request.tenant_claim),
            "role_claim": _find_claim_problem(request.role_claim) if request.role_claim else "",
            "role_map": _find_map_problem(request),
        }.items()
        if problem
    }
    if problems:
        raise Invalid(next(iter(problems.values())), "Correct these and try again.", fields=problems)
    return {
        **{field.name: getattr(request, field.name) for field in fields(request)},
        "name": name,
        "algorithms": sorted(set(request.algorithms)),
        "role_map": [{"value": entry.value, "role": entry.role} for entry in request.role_map],
    }


def _label(column: str) -> str:
    return column.replace("_", " ").capitalize()


def _find_text_problem(text: str, max_length: int) -> str:
    is_usable = 0 < len(text) <= max_length and text.isprintable() and text == text.strip()
    return "" if is_usable else f"Enter 1 to {max_length} characters, exactly as tokens have them."


def _find_url_problem(url: str) -> str:
    try:
        is_usable = len(url) <= MAX_URL_LENGTH and "." in signing_key_fetch.check_url(url).host
    except signing_key_fetch.FetchFailed:
        is_usable = False
    return "" if is_usable else "Enter a public https address, such as https://id.example.com/jwks.json."


def _find_algorithm_problem(algorithms: Collection[str]) -> str:
    is_usable = len(algorithms) > 0 and set(algorithms) <= set(ALGORITHMS)
    return "" if is_usable else f"Choose among {', '.join(ALGORITHMS)}."


def _find_claim_problem(name: str) -> str:
    if name in REGISTERED_CLAIMS:
        return f"The claim {name} has a meaning of its own. Choose another one."
    return _find_text_problem(name, MAX_CLAIM_LENGTH)


def _find_map_problem(request: IssuerRequest) -> str:
    if bool(request.role_map) != bool(request.role_claim):
        return "Name a role claim and map its values, or do neither."
    values = [entry.value for entry in request.role_map]
    is_usable = len(values) <= MAX_MAPPED_ROLES and len(set(values)) == len(values)
    problems = [_find_text_problem(value, MAX_CLAIM_LENGTH) for value in values]
    return (
        next(filter(None, problems), "") if is_usable else f"Map up to {MAX_MAPPED_ROLES} different values."
    )


def _audit_fields(issuer: JwtIssuer) -> dict[str, object]:
    return {field.name: getattr(issuer, field.name) for field in fields(IssuerRequest)}


def _build_view(issuer: JwtIssuer) -> IssuerView:
    return IssuerView(
        id=issuer.id,
        name=issuer.name,
        issuer=issuer.issuer,
        audience=issuer.audience,
        jwks_url=issuer.jwks_url,
        algorithms=tuple(issuer.algorithms),
        tenant_claim=issuer.tenant_claim,
        role=issuer.role,
        role_claim=issuer.role_claim,
        role_map=tuple(MappedRole(value=entry["value"], role=entry["role"]) for entry in issuer.role_map),
        enabled=issuer.enabled,
        created_by_name=issuer.created_by_name,
        created_at=issuer.created_at,
        version=issuer.version,
    )


def _not_found() -> NotFound:
    return NotFound("This token issuer doesn’t exist.", "Reload the page.")


async def _publish_change(ctx: Ctx) -> None:
    await live_events.refresh_pages(ctx.session, ctx.tenant_id, TOPIC)
