"""Which tenant a request means: by path, key, token, subdomain or a host of the tenant's own.

Each source has one adapter. A source names a tenant and proves nothing: callers authenticate first, then ask here whether
everything in the request means the tenant that they have admitted. No other header names a tenant.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum
from urllib.parse import urlsplit

from shared.audit import audit_log
from shared.audit.event_types import AuditAction
from shared.core import db, log, request_ids
from shared.core.config import settings
from shared.core.errors import NotFound, Refused
from shared.tenancy import entry, resolution_repository
from shared.tenancy.admissions import TenantAdmission
from shared.tenancy.key_texts import parse_key_text
from shared.tenancy.token_texts import parse_token

RECORDED_EVERY = timedelta(hours=1)  # for one actor: a program that is set up wrongly asks all day
HOST = re.compile(r"(?P<name>\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]{1,253}?)\.?(?::\d{0,5})?")
UNKNOWN_HOST = "-"  # no tenant has this one


class Source(StrEnum):
    PATH = "path"
    API_KEY = "api_key"
    TOKEN = "token"
    SUBDOMAIN = "subdomain"
    CUSTOM_HOST = "custom_host"


@dataclass(frozen=True, slots=True, kw_only=True)
class Sources:
    """What a request carries; "" where it has none of it."""

    path_slug: str = ""  # of /t/{slug}, for a session that may enter there
    key_text: str = ""
    token_text: str = ""
    host: str = ""  # as the Host header says it


@dataclass(frozen=True, slots=True, kw_only=True)
class TenantClaim:
    """One of the names is set: the id where the source says it, or where `resolve` has looked it up."""

    source: Source
    tenant_id: str = ""
    slug: str = ""
    host: str = ""


class TenantConflict(Refused):
    """Two parts of one request name different tenants."""

    default_reason = "tenant_conflict"

    def __init__(self, named_by: tuple[Source, ...]) -> None:
        super().__init__(
            "This request names more than one organisation.",
            "Send it to the address of the organisation that your key, token or session is for.",
        )
        self.named_by = named_by


def _claim_by_path(sources: Sources) -> TenantClaim | None:
    return TenantClaim(source=Source.PATH, slug=sources.path_slug) if sources.path_slug else None


def _claim_by_key(sources: Sources) -> TenantClaim | None:
    claimed_key = parse_key_text(sources.key_text)
    return TenantClaim(source=Source.API_KEY, tenant_id=claimed_key.tenant_id) if claimed_key else None


def _claim_by_token(sources: Sources) -> TenantClaim | None:
    token = parse_token(sources.token_text)
    return TenantClaim(source=Source.TOKEN, tenant_id=token.tenant_id) if token else None


def _claim_by_subdomain(sources: Sources) -> TenantClaim | None:
    host, suffix = _find_other_host(sources.host), f".{settings().tenant_domain}"
    return (
        TenantClaim(source=Source.SUBDOMAIN, slug=host.removesuffix(suffix))
        if host.endswith(suffix)
        else None
    )


def _claim_by_custom_host(sources: Sources) -> TenantClaim | None:
    host = _find_other_host(sources.host)
    is_custom = host and not host.endswith(f".{settings().tenant_domain}")
    return TenantClaim(source=Source.CUSTOM_HOST, host=host) if is_custom else None


ADAPTERS: dict[Source, Callable[[Sources], TenantClaim | None]] = {
    Source.PATH: _claim_by_path,
    Source.API_KEY: _claim_by_key,
    Source.TOKEN: _claim_by_token,
    Source.SUBDOMAIN: _claim_by_subdomain,
    Source.CUSTOM_HOST: _claim_by_custom_host,
}


async def resolve(sources: Sources) -> TenantClaim | None:
    """The tenant that all sources name, with its id wherever there are several or one of them is a host.

    None where none names any. A single path, key or token is not looked up.
    Raises NotFound for a single slug or host that no tenant has, TenantConflict. Beside another source, a host that no
    tenant has is a conflict too, so that a stranger doesn't learn which there are.
    """
    claims = [claim for adapter in ADAPTERS.values() if (claim := adapter(sources)) is not None]
    if len(claims) < 2 and not any(_is_host(claim) for claim in claims):
        return claims[0] if claims else None
    resolved = [await _look_up(claim) for claim in claims]
    tenant_ids = {claim.tenant_id for claim in resolved}
    if len(resolved) == 1 and "" in tenant_ids:
        raise NotFound(entry.NOT_FOUND_MESSAGE, entry.NOT_FOUND_STEP)
    if len(tenant_ids) > 1 or "" in tenant_ids:
        raise TenantConflict(tuple(claim.source for claim in resolved))
    return resolved[0]


async def require_same_tenant(
    sources: Sources, *, tenant_id: str, actor_id: str, admission: TenantAdmission | None
) -> None:
    """Raises as `resolve`, and TenantConflict where the sources name another tenant than the one admitted.

    A conflict is recorded for operators and, with an admission, in the tenant's audit log.
    """
    try:
        claim = await resolve(sources)
        if claim is not None and claim.tenant_id not in ("", tenant_id):
            raise TenantConflict((claim.source,))
    except TenantConflict as conflict:
        await _record(conflict, tenant_id=tenant_id, actor_id=actor_id, admission=admission)
        raise


async def _look_up(claim: TenantClaim) -> TenantClaim:
    if claim.tenant_id:
        return claim
    name = claim.slug or claim.host
    if not name.isascii() or not name.isprintable():
        return claim
    tenant_id = await resolution_repository.find_claimed_tenant(slug=claim.slug, host=claim.host)
    return TenantClaim(source=claim.source, tenant_id=tenant_id)


def _is_host(claim: TenantClaim) -> bool:
    return claim.source in (Source.SUBDOMAIN, Source.CUSTOM_HOST)


def _find_other_host(text: str) -> str:
    """The host in lower case; "" for our main host, and where `BULKHEAD_TENANT_DOMAIN` is not set: then no host means anything."""
    if not text or settings().tenant_domain is None:
        return ""
    match = HOST.fullmatch(text)
    host = match["name"].lower() if match else UNKNOWN_HOST
    return "" if host == urlsplit(settings().tenant_url).hostname else host


async def _record(
    conflict: TenantConflict, *, tenant_id: str, actor_id: str, admission: TenantAdmission | None
) -> None:
    """In transactions of its own, because the caller raises."""
    request_id, named_by = request_ids.current(), ", ".join(conflict.named_by)
    log.get_logger(__name__).warning(
        "tenant_conflict", tenant_id=tenant_id, actor_id=actor_id, request_id=request_id, named_by=named_by
    )
    async with db.transaction() as session:
        await audit_log.record_security_event(session, "tenant_conflict", actor_id, named_by, request_id)
    if admission is None:
        return
    async with entry.enter_admitted(admission) as ctx:
        if not await audit_log.count_events_of(
            ctx, ctx.actor_id, AuditAction.REQUEST_REFUSED, RECORDED_EVERY
        ):
            audit_log.record(ctx, AuditAction.REQUEST_REFUSED, tenant_id, named_by=named_by)
