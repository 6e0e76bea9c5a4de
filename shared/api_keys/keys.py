"""API keys of a tenant: create, list, rotate, revoke.

A key acts for a person or a service account: it has the scopes it was given, as long as its holder has these permissions.
Its text is shown once; the database holds a hash. `tenancy.key_entry.authenticate_key` lets it in.
"""

from collections.abc import Collection
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from ipaddress import IPv4Network, IPv6Network, ip_network
from urllib.parse import urlsplit

from shared.access import policy
from shared.access.refusal_codes import Reason
from shared.access.roles import OWNER, OWNER_ONLY_PERMISSIONS, ROLES
from shared.api_keys import key_repository, key_rules
from shared.api_keys.actions import API_KEY_CREATE, API_KEY_READ, API_KEY_REVOKE
from shared.api_keys.key_rules import DEFAULT_OVERLAP, KeyState
from shared.api_keys.models import ApiKey
from shared.audit import audit_log
from shared.core import live_events, rows
from shared.core.context import Ctx
from shared.core.db import now
from shared.core.errors import Conflict, Invalid, NotFound, Refused
from shared.core.ids import new_id
from shared.core.paging import Page, build_page, clamp_limit, map_page
from shared.core.versions import advance_version, require_version
from shared.entitlements import limits
from shared.tenancy import roles, seats, service_accounts, siblings
from shared.tenancy.key_texts import new_key_text
from shared.tenancy.models import ServiceAccount, TenantMode

TOPIC = "api_keys"  # of open pages
MAX_KEYS = 200  # that work, in one tenant
MAX_ORIGINS = 20
MAX_ORIGIN_LENGTH = 200
OWN_PORTS = {"http": 80, "https": 443}


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyView:
    id: str
    name: str
    hint: str
    scopes: tuple[str, ...]
    state: KeyState
    holder_type: str  # user or service_account
    holder_id: str
    holder_name: str
    networks: tuple[str, ...]
    origins: tuple[str, ...]
    created_by_name: str
    created_at: datetime
    expires_at: datetime | None
    last_used_at: datetime | None
    last_used_address: str
    previous_hint: str  # of the text that works until `previous_ends_at`; "" without one
    previous_ends_at: datetime | None
    revoked_at: datetime | None
    revoked_by: str
    version: int


@dataclass(frozen=True, slots=True, kw_only=True)
class CreatedKey:
    key: KeyView
    text: str = field(repr=False)  # the only time that it can be read


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyRequest:
    """What a key is to be. `scopes`: permissions. `expires_at` None: never."""

    name: str
    scopes: Collection[str]
    expires_at: datetime | None = None
    networks: Collection[str] = ()  # CIDR, or single addresses; empty: it works from anywhere
    origins: Collection[str] = ()  # of web pages that may use it, as https://app.example.com
    service_account_id: str = ""  # "" for a key of the person who creates it
    mode: TenantMode | None = None  # None: the mode of the tenant in which it is created


def list_scopes(ctx: Ctx) -> list[str]:
    """The permissions that the actor can give to a key, alphabetical."""
    return sorted(ctx.permissions & (ROLES[OWNER].permissions - OWNER_ONLY_PERMISSIONS))


async def list_keys(ctx: Ctx, *, after: str = "", limit: int = 50) -> Page[KeyView]:
    """Newest first, revoked ones included. Raises Invalid for an unknown page."""
    policy.require(ctx, API_KEY_READ)
    limit = clamp_limit(limit)
    records = await key_repository.list_keys(ctx, after=after, limit=limit + 1)
    page = build_page(records, limit=limit, cursor_of=lambda record: key_repository.get_cursor(record[0]))
    return map_page(
        page,
        lambda record: _build_view(
            record[0], record[1].name if record[1] else record[2].name if record[2] else ""
        ),
    )


async def get(ctx: Ctx, key_id: str) -> KeyView:
    """Raises NotFound."""
    policy.require(ctx, API_KEY_READ)
    key = await ctx.session.get(ApiKey, (ctx.tenant_id, key_id))
    if key is None:
        raise _not_found()
    return await _view(ctx, key)


async def create(ctx: Ctx, request: KeyRequest) -> CreatedKey:
    """A key of the tenant, or of its test tenant.

    Raises Invalid, NotFound for an unknown service account, Conflict above `MAX_KEYS` and while test mode is off, Refused
    for scopes that the actor lacks, and for a live key in test mode.
    """
    policy.require(ctx, API_KEY_CREATE)
    _check_mode(ctx, request)
    name, scopes = key_rules.clean_name(request.name), _clean_scopes(request.scopes)
    networks, origins = key_rules.clean_networks(request.networks), _clean_origins(request.origins)
    expires_at = key_rules.check_expiry(request.expires_at)
    await seats.lock_membership(ctx, API_KEY_CREATE)
    policy.require_grantable(ctx, scopes)
    expires_at, networks = await _apply_own_limits(ctx, expires_at, networks)
    account = await _lock_service_account(ctx, request.service_account_id, scopes)
    if account is None and not ctx.person_id:
        raise Invalid(
            "A key of a service account can only create keys for service accounts.",
            "Name a service account.",
            fields={"service_account_id": "Missing"},
        )
    cleaned = KeyRequest(
        name=name,
        scopes=scopes,
        expires_at=expires_at,
        networks=networks,
        origins=origins,
        service_account_id=account.id if account else "",
    )
    if ctx.is_test or request.mode is not TenantMode.TEST:
        return await _add_key(ctx, cleaned)
    async with siblings.enter_test_tenant(ctx, await siblings.require_test_tenant(ctx)) as test_ctx:
        return await _add_key(test_ctx, cleaned)


async def _add_key(ctx: Ctx, request: KeyRequest) -> CreatedKey:
    """`request`: checked, under the lock of the members. Raises Refused at the limit, Conflict above `MAX_KEYS`."""
    await limits.require_below_limit(ctx, API_KEY_CREATE)
    if await key_repository.count_working_keys(ctx, now()) >= MAX_KEYS:
        raise Conflict(f"There are {MAX_KEYS} keys.", "Revoke one that is no longer needed.")
    text = new_key_text(ctx.tenant_id, is_test=ctx.is_test)
    key = ApiKey(
        tenant_id=ctx.tenant_id,
        id=new_id("key"),
        name=request.name,
        secret_hash=text.secret_hash,
        hint=text.hint,
        scopes=sorted(request.scopes),
        user_id=None if request.service_account_id else ctx.person_id,
        service_account_id=request.service_account_id or None,
        networks=list(request.networks),
        origins=list(request.origins),
        expires_at=request.expires_at,
        created_by_name=ctx.actor.name,
    )
    ctx.session.add(key)
    audit_log.record(ctx, "api_key.created", key.id, after=_audit_fields(key), key=request.name)
    await _publish_change(ctx)
    return CreatedKey(key=await _view(ctx, key), text=text.text)


async def rotate(ctx: Ctx, key_id: str, *, overlap: timedelta = DEFAULT_OVERLAP) -> CreatedKey:
    """Give the key a new text. The former one works for `overlap` more, at most 7 days.

    A text that an earlier rotation replaced ends now. Raises Invalid, NotFound, Conflict for a key that does not work, Refused
    for a key above the actor, or without the limits of the key that asks.
    """
    policy.require(ctx, API_KEY_CREATE)
    key_rules.check_overlap(overlap)
    await seats.lock_membership(ctx, API_KEY_CREATE)
    key = await _lock_working_key(ctx, key_id)
    _require_own(ctx, key)
    policy.require_grantable(ctx, key.scopes)
    own_limits = key.expires_at, list(key.networks)
    if await _apply_own_limits(ctx, *own_limits) != own_limits:
        raise _beyond_own_limits()
    text, former_hint = new_key_text(ctx.tenant_id, is_test=ctx.is_test), key.hint
    key_rules.replace_text(key, text, overlap)
    advance_version(key, ctx.actor.name)
    ctx.session.add(key)
    audit_log.record(
        ctx,
        "api_key.rotated",
        key.id,
        before={"hint": former_hint},
        after={
            "hint": key.hint,
            "former_until": key.previous_ends_at.isoformat() if key.previous_ends_at else "",
        },
        key=key.name,
    )
    await _publish_change(ctx)
    return CreatedKey(key=await _view(ctx, key), text=text.text)


async def change(
    ctx: Ctx,
    key_id: str,
    *,
    name: str,
    scopes: Collection[str],
    networks: Collection[str],
    origins: Collection[str],
    version: int | None,
) -> KeyView:
    """Takes effect on the next request. `version`: of the key that was read.

    Raises Invalid, NotFound, Conflict for a key that does not work, Refused for scopes that the actor or the service
    account lacks, ChangedMeanwhile.
    """
    policy.require(ctx, API_KEY_CREATE)
    name, scope_set = key_rules.clean_name(name), _clean_scopes(scopes)
    clean_networks, clean_origins = key_rules.clean_networks(networks), _clean_origins(origins)
    await seats.lock_membership(ctx, API_KEY_CREATE)
    key = await _lock_working_key(ctx, key_id)
    _require_own(ctx, key)
    _, clean_networks = await _apply_own_limits(ctx, key.expires_at, clean_networks)
    policy.require_grantable(ctx, scope_set | set(key.scopes))
    await _lock_service_account(ctx, key.service_account_id or "", scope_set)
    values = {
        "Name": (key.name, name),
        "Scopes that differ": (set(key.scopes), set(scope_set)),
        "Addresses that differ": (set(key.networks), set(clean_networks)),
        "Origins that differ": (set(key.origins), set(clean_origins)),
    }
    require_version(key, version, "this key", values)
    before = _audit_fields(key)
    key.name, key.scopes, key.networks, key.origins = name, sorted(scope_set), clean_networks, clean_origins
    if _audit_fields(key) != before:
        advance_version(key, ctx.actor.name)
        ctx.session.add(key)
        audit_log.record(ctx, "api_key.changed", key.id, before=before, after=_audit_fields(key), key=name)
        await _publish_change(ctx)
    return await _view(ctx, key)


async def revoke(ctx: Ctx, key_id: str) -> None:
    """Requests that begin after the commit are refused. Raises NotFound, Conflict for one that is revoked already."""
    policy.require(ctx, API_KEY_REVOKE)
    key = await rows.lock(ctx, ApiKey, key_id)
    if key is None:
        raise _not_found()
    if key.revoked_at is not None:
        raise Conflict("This key is revoked already.", "Reload the page.")
    await _revoke(ctx, [key])


async def end_keys_of_members(ctx: Ctx, user_ids: Collection[str], permissions: frozenset[str]) -> None:
    """`Module.on_membership_end`. A key never has more permissions than its holder, so only an end concerns it.

    Keys of the test tenant end too. Where there is one, objects that were loaded before are detached.
    """
    if permissions:
        return
    await _revoke(ctx, await key_repository.lock_keys_of_holders(ctx, user_ids))
    if (test_tenant := await siblings.find_test_tenant(ctx)) is not None:
        async with siblings.enter_test_tenant(ctx, test_tenant) as test_ctx:
            await _revoke(test_ctx, await key_repository.lock_keys_of_holders(test_ctx, user_ids))


async def _revoke(ctx: Ctx, working_keys: Collection[ApiKey]) -> None:
    for key in working_keys:
        key.revoked_at, key.revoked_by = now(), ctx.actor.name
        ctx.session.add(key)
        audit_log.record(ctx, "api_key.revoked", key.id, before={"hint": key.hint}, key=key.name)
    if working_keys:
        await _publish_change(ctx)


async def _lock_working_key(ctx: Ctx, key_id: str) -> ApiKey:
    key = await rows.lock(ctx, ApiKey, key_id)
    if key is None:
        raise _not_found()
    key_rules.require_active(key)
    return key


def _require_own(ctx: Ctx, key: ApiKey) -> None:
    """Raises Refused for another person's key. A new secret would let the actor act as that person."""
    if key.user_id and key.user_id != ctx.person_id:
        raise Refused(
            "This key belongs to another person.",
            "Ask them to change it. You can revoke it.",
            reason=Reason.MISSING_PERMISSION,
        )


async def _apply_own_limits(
    ctx: Ctx, expires_at: datetime | None, networks: list[str]
) -> tuple[datetime | None, list[str]]:
    """End and networks of a key that another key makes or changes: the maker's own where none are given.

    Raises Refused for a later end, or for addresses that the maker does not work from.
    """
    if not ctx.key_holder_id:
        return expires_at, networks
    caller = await ctx.session.get_one(ApiKey, (ctx.tenant_id, ctx.actor_id))
    expires_at, networks = expires_at or caller.expires_at, networks or list(caller.networks)
    limits = [ip_network(network) for network in caller.networks]
    outlives = caller.expires_at is not None and expires_at is not None and expires_at > caller.expires_at
    if outlives or (limits and not all(_is_within(network, limits) for network in networks)):
        raise _beyond_own_limits()
    return expires_at, networks


def _beyond_own_limits() -> Refused:
    return Refused(
        "The key would live longer, or work from more addresses, than the key that makes the request.",
        "Give it an earlier end and addresses of this key, or use the page API keys.",
        reason=Reason.MISSING_PERMISSION,
    )


def _is_within(network: str, limits: Collection[IPv4Network | IPv6Network]) -> bool:
    first = ip_network(network)
    return any(
        first.network_address in limit and first.prefixlen >= limit.prefixlen
        for limit in limits
        if limit.version == first.version
    )


async def _lock_service_account(
    ctx: Ctx, service_account_id: str, scopes: Collection[str]
) -> ServiceAccount | None:
    """None for a key of a person. Raises NotFound, Invalid for scopes that the account's role does not have."""
    if not service_account_id:
        return None
    account = await service_accounts.lock_active(ctx, service_account_id)
    permissions = await roles.get_permissions(ctx, account.role) or frozenset[str]()
    if missing := sorted(set(scopes) - permissions):
        text = f"The role of {account.name} lacks {', '.join(missing)}."
        raise Invalid(text, "Choose fewer scopes, or another role.", fields={"scopes": text})
    return account


def _check_mode(ctx: Ctx, request: KeyRequest) -> None:
    """Raises Refused for a live key in test mode, Invalid for a test key of a service account."""
    if ctx.is_test and request.mode is TenantMode.LIVE:
        raise Refused(
            "Test mode can’t create live keys.", "Leave test mode and try again.", reason=Reason.TEST_MODE
        )
    if request.service_account_id and (ctx.is_test or request.mode is TenantMode.TEST):
        text = "Test keys act for people."
        raise Invalid(text, "Leave the service account out.", fields={"service_account_id": text})


def _clean_scopes(scopes: Collection[str]) -> frozenset[str]:
    """Raises Invalid for none, for an unknown one, and for what no program may do."""
    return key_rules.clean_scopes(scopes, ROLES[OWNER].permissions - OWNER_ONLY_PERMISSIONS)


def _clean_origins(origins: Collection[str]) -> list[str]:
    cleaned = {_normalise_origin(origin.strip().lower()) for origin in origins}
    if len(cleaned) > MAX_ORIGINS or "" in cleaned:
        problem = f"Enter up to {MAX_ORIGINS} origins such as https://app.example.com, without a path."
        raise Invalid(problem, "Correct the origins.", fields={"origins": problem})
    return sorted(cleaned)


def _normalise_origin(text: str) -> str:
    """Scheme, host and port as browsers send them: without the scheme's own port. http only for localhost.

    "" for what is no origin.
    """
    try:
        parts = urlsplit(text)
        host, port = parts.hostname or "", parts.port
    except ValueError:
        return ""
    is_local = parts.scheme == "http" and host in ("localhost", "127.0.0.1")
    is_usable = (
        (parts.scheme == "https" or is_local)
        and 0 < len(text) <= MAX_ORIGIN_LENGTH
        and text.isascii()
        and text == f"{parts.scheme}://{parts.netloc}"
        and host
        and "@" not in parts.netloc
        and port != 0
    )
    if not is_usable:
        return ""
    shown_host = f"[{host}]" if ":" in host else host
    return f"{parts.scheme}://{shown_host}" + (
        f":{port}" if port not in (None, OWN_PORTS[parts.scheme]) else ""
    )


async def _view(ctx: Ctx, key: ApiKey) -> KeyView:
    await ctx.session.flush()
    return _build_view(key, await key_repository.get_holder_name(ctx, key))


def _build_view(key: ApiKey, holder_name: str) -> KeyView:
    has_previous = key_rules.has_previous(key)
    return KeyView(
        id=key.id,
        name=key.name,
        hint=key.hint,
        scopes=tuple(key.scopes),
        state=key_rules.get_state(key),
        holder_type="user" if key.user_id else "service_account",
        holder_id=key.user_id or key.service_account_id or "",
        holder_name=holder_name,
        networks=tuple(key.networks),
        origins=tuple(key.origins),
        created_by_name=key.created_by_name,
        created_at=key.created_at,
        expires_at=key.expires_at,
        last_used_at=key.last_used_at,
        last_used_address=key.last_used_address,
        previous_hint=key.previous_hint if has_previous else "",
        previous_ends_at=key.previous_ends_at if has_previous else None,
        revoked_at=key.revoked_at,
        revoked_by=key.revoked_by,
        version=key.version,
    )


def _audit_fields(key: ApiKey) -> dict[str, object]:
    return {
        "name": key.name,
        "hint": key.hint,
        "scopes": list(key.scopes),
        "networks": list(key.networks),
        "origins": list(key.origins),
        "expires_at": key.expires_at.isoformat() if key.expires_at else "",
        "service_account": key.service_account_id or "",
    }


def _not_found() -> NotFound:
    return NotFound("This key doesn’t exist.", "Reload the page.")


async def _publish_change(ctx: Ctx) -> None:
    await live_events.refresh_pages(ctx.session, ctx.tenant_id, TOPIC)
