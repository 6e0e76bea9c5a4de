"""Two tenants with a row in every table, the people of both, and a superuser's connection, which sees everything."""

import asyncio
import hashlib
import io
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import psycopg
from PIL import Image
from psycopg import sql
from psycopg.rows import dict_row
from sqlalchemy.engine import make_url

from shared.access import actions, decision_counts, policy
from shared.access.file_kinds import EXPORT_KINDS
from shared.access.roles import OPERATOR_ROLES, OWNER, ROLES
from shared.api_keys import idempotency, keys
from shared.api_keys.issuers import MappedRole
from shared.audit import audit_log
from shared.backoffice import catalog_drafts, flag_admin, noisy_tenants, tenant_access, tenant_directory
from shared.backoffice.reasons import state_reason
from shared.billing import provider_registry
from shared.billing.models import PLATFORM
from shared.core import db, rate_limits, registry, tenant_load
from shared.core.db import now
from shared.core.errors import Refused
from shared.core.ids import new_id
from shared.core.notification_kinds import MailChoice
from shared.entitlements import plan_content
from shared.evidence import anchor_repository
from shared.fairness import load_recorder
from shared.files import exports, storage_registry, uploads
from shared.jobs import worker
from shared.metering import call_counts
from shared.tenancy import (
    audit_reader,
    entry,
    invitations,
    logos,
    mail_preferences,
    notifications,
    service_accounts,
    support_access,
)
from shared.tenancy import roles as role_services
from shared.tenancy.models import Tenant
from tests.attack import billed, metered, webhooked
from tests.support import audit_chains, database, factories, support_sessions, token_issuer
from tests.support.stand_in_mail import run_mailbox
from tests.support.support_sessions import SupportSession

ACME, GLOBEX = "Acme Xylophone", "Globex Zanzibar"
COLOURS = {ACME: "navy", GLOBEX: "olive"}  # of their logos
OWN_ROLES = {ACME: "Xylophone tuner", GLOBEX: "Zanzibar guide"}
LEFT_BY_BOTH = "left-by-both"  # an address that each had once, too long ago
LAPSED = {ACME: "lapsed@acme.test", GLOBEX: "lapsed@globex.test"}  # invited, too long ago
MOVING = {"last_used_address", "last_used_at", "seen_at"}  # changes by looking
COUNTED = {"decision_count", "decision_record", "impersonation_event", "tenant_load"}  # grow by being refused
CLAIMED = {  # parameters that name a row: what of it
    "actor_id": ("membership", "user_id"),
    "adjustment_id": ("billing_adjustment", "id"),
    "correction_id": ("usage_correction", "id"),
    "customer_id": ("billing_customer", "id"),
    "decision_id": ("decision_record", "id"),
    "delivery_id": ("webhook_delivery", "id"),
    "endpoint_id": ("webhook_endpoint", "id"),
    "export_id": ("export_job", "id"),
    "stream_id": ("audit_stream", "id"),
    "file_id": ("stored_file", "id"),
    "grant_id": ("prepaid_grant", "id"),
    "key_id": ("api_key", "id"),
    "issuer_id": ("jwt_issuer", "id"),
    "invitation_id": ("invitation", "id"),
    "invoice_id": ("billing_invoice", "id"),
    "membership_id": ("membership", "id"),
    "digest_id": ("notification_digest", "id"),
    "notification_id": ("notification", "id"),
    "order_id": ("billing_order", "id"),
    "record_id": ("decision_record", "id"),
    "row_id": ("tenant_override", "id"),
    "role_id": ("role", "id"),
    "subscription_id": ("billing_subscription", "id"),
    "tenant_id": ("tenant", "id"),
    "user_id": ("notification", "user_id"),  # whose the notifications are
}
CLAIMED |= {f"{table}_id": (table, "id") for table in registry.list_tables() if f"{table}_id" not in CLAIMED}


Superuser = psycopg.Connection[dict[str, Any]]
Print = dict[str, str]  # of one tenant, by table
_connections: dict[str, psycopg.Connection[Any]] = {}  # by address
_kept_rows: dict[int, dict[tuple[str, str, str], list[dict[str, Any]]]] = {}  # by the id of the world


def connect(address: str, **how: Any) -> psycopg.Connection[Any]:
    """The open connection to this address, or a new one that stays open: connecting costs more than most statements."""
    if address not in _connections or _connections[address].closed:
        _connections[address] = psycopg.connect(address, **how)
    return _connections[address]


def close_connections() -> None:
    """Before a database is copied: nobody may be connected to it."""
    while _connections:
        _connections.popitem()[1].close()


@dataclass(frozen=True)
class World:
    ann: factories.SignedInUser  # owns Acme
    roles: dict[str, factories.SignedInUser]  # the others of Acme, one for every role
    gil: factories.SignedInUser  # owns Globex
    bea: factories.SignedInUser  # an admin of both
    carl: factories.SignedInUser  # belongs to nobody
    operators: dict[str, str]  # role: cookie
    acme: str
    acme_slug: str
    globex: str
    globex_slug: str
    initech: str  # a third one, whose owner has never proven an address
    names: dict[str, str]  # tenant: its name
    secrets: dict[str, tuple[str, str, str]]  # tenant: its id, and addresses of its people
    billed: dict[str, tuple[str, ...]]  # tenant: its names at the provider, and the number of an invoice
    former_slugs: dict[str, str]  # tenant: an address that it had before
    support: SupportSession  # a read-only one for the owner of Acme
    shop: str  # the token of a further account through which we sell
    flags: tuple[
        str, str
    ]  # of this world alone, and no code asks for them: what is done to them closes nothing

    @property
    def olga(self) -> str:
        return self.operators[OWNER]

    def words(self, *tenants: str) -> tuple[str, ...]:
        """What must not be seen by anybody outside of these tenants."""
        return tuple(word for tenant in tenants for word in (self.names[tenant], *self.private(tenant)))

    def private(self, tenant: str) -> tuple[str, ...]:
        """Words that only its own people have seen."""
        return (*self.secrets[tenant], *self.billed[tenant])

    @staticmethod
    @contextmanager
    def superuser() -> Iterator[Superuser]:
        """As superuser: row security does not apply."""
        url = database.admin_url(make_url(db.login_url("app")).database or "")
        yield connect(url, autocommit=True, row_factory=dict_row)

    def tables(self) -> dict[str, str]:
        """Every table that holds rows of tenants, from the catalog, with the column that says whose."""
        with self.superuser() as superuser:
            tables = superuser.execute(
                "select c.relname as name from pg_class c join pg_attribute a on a.attrelid = c.oid"
                " where a.attname = 'tenant_id' and not a.attisdropped and c.relkind in ('r', 'p')"
                " and not c.relispartition and c.relnamespace = 'public'::regnamespace order by 1"
            ).fetchall()
        return {"tenant": "id"} | {row["name"]: "tenant_id" for row in tables}

    @contextmanager
    def keeping_rows(self) -> Iterator[None]:
        """For attempts that are all undone: each question about rows is asked once."""
        _kept_rows[id(self)] = {}
        try:
            yield
        finally:
            del _kept_rows[id(self)]

    def rows(self, table: str, key: str, tenant_id: str) -> list[dict[str, Any]]:
        kept = _kept_rows.get(id(self))
        if kept is None:
            return self._read_rows(table, key, tenant_id)
        if (question := (table, key, tenant_id)) not in kept:
            kept[question] = self._read_rows(table, key, tenant_id)
        return [dict(row) for row in kept[question]]

    def _read_rows(self, table: str, key: str, tenant_id: str) -> list[dict[str, Any]]:
        with self.superuser() as superuser:
            query = sql.SQL("select * from {} where {} = %s order by 1, 2")
            return superuser.execute(
                query.format(sql.Identifier(table), sql.Identifier(key)), [tenant_id]
            ).fetchall()

    def claims(self, parameter: str, tenant_id: str) -> list[str]:
        """What a parameter of this name could be filled with from that tenant's rows. Raises KeyError."""
        table, column = CLAIMED[parameter]
        key = "id" if table == "tenant" else "tenant_id"
        return [row[column] for row in self.rows(table, key, tenant_id)]

    def print_of(self, tenant_id: str) -> Print:
        """A fingerprint of everything that a tenant has, in any order of its rows; looking at it leaves no mark."""
        prints = {}
        with self.superuser() as superuser:
            for table, key in self.tables().items():
                if table in COUNTED:
                    continue
                query = sql.SQL("select * from {} where {} = %s")
                rows = superuser.execute(
                    query.format(sql.Identifier(table), sql.Identifier(key)), [tenant_id]
                )
                kept = sorted(
                    repr([(name, value) for name, value in row.items() if name not in MOVING])
                    for row in rows
                    if not _is_counted_call(row)
                )
                prints[table] = hashlib.sha256("\n".join(kept).encode()).hexdigest()
        return prints

    def object_paths(self) -> dict[str, tuple[str, str]]:
        """Of every operators' page about one object: the addresses of two, of Acme and of Globex where they have some."""
        with self.superuser() as superuser:
            webhooks = [
                f"{row['account_id']}/{row['event_id']}"
                for row in superuser.execute(
                    "select account_id, event_id from inbound_webhook order by event_id limit 2"
                )
            ]
            approvals = [
                row["id"]
                for tenant in (self.acme, self.globex)
                for row in superuser.execute(
                    "select id from operator_approval where object_id = %s limit 1", [tenant]
                )
            ]
        objects = {
            "/approvals/[approval]": (approvals[0], approvals[1]),
            "/tenants/[tenant]": (self.acme, self.globex),
            "/flags/[flag]": self.flags,
            "/health/[alert]": ("error_rate", "latency"),
            "/webhooks/[seller]/[received]": (webhooks[0], webhooks[1]),
        }
        return {
            route: (f"{route.partition('[')[0]}{first}", f"{route.partition('[')[0]}{second}")
            for route, (first, second) in objects.items()
        }

    def own_role(self, tenant_id: str) -> str:
        """Key of the role that this tenant has made for itself."""
        rows = self.rows("role", "tenant_id", tenant_id)
        return next(str(row["key"]) for row in rows if row["name"] == OWN_ROLES[self.names[tenant_id]])

    def forget_rows_with(self, words: Sequence[str]) -> None:
        """Acme's own, which its owner has made during the attack: roles, and keys and rows of product modules with such a word.

        Its name as well: whoever changes it next is shown both.
        """
        tables = [
            "api_key",
            "service_account",
            *(
                str(model.__tablename__)
                for module in registry.list_modules()
                if module.example is not None
                for model in module.tables
            ),
        ]
        with self.superuser() as superuser, superuser.pipeline():
            superuser.execute(
                "delete from role where tenant_id = %s and not builtin and name <> %s",
                [self.acme, OWN_ROLES[ACME]],
            )
            superuser.execute(
                "update tenant set name = %s where id = %s and name = any (%s)",
                [self.names[self.acme], self.acme, list(words)],
            )
            for table in tables:
                command = sql.SQL(
                    "delete from {table} where tenant_id = %s and exists"
                    " (select from unnest(%s::text[]) as word where position(word in {table}::text) > 0)"
                )
                superuser.execute(command.format(table=sql.Identifier(table)), [self.acme, list(words)])

    def prints(self) -> tuple[Print, Print]:
        return self.print_of(self.acme), self.print_of(self.globex)


def _is_counted_call(row: dict[str, Any]) -> bool:
    """Usage that every call of the API adds, whatever becomes of it, and the record of a refusal.

    The usage of the world is hours old.
    """
    if row.get("action") in ("action.attempted", "operator.attempted"):
        return True
    is_counted = str(row.get("id", "")).startswith(f"{call_counts.METER}:cll_")
    is_counter = row.get("meter") == call_counts.METER and ("reserved" in row or "counter_id" in row)
    return (
        is_counted
        or is_counter
        or ("hour" in row and "batch_id" in row and row["hour"] > now() - timedelta(hours=2))
    )


def list_changes(before: tuple[Print, Print], after: tuple[Print, Print]) -> str:
    """The tables of Acme and of Globex whose rows are not the same, as text."""
    changed = [
        f"{name}.{table}"
        for name, (old, new) in zip(("acme", "globex"), zip(before, after, strict=True), strict=True)
        for table in old
        if old[table] != new.get(table)
    ]
    return ", ".join(changed)


async def build() -> World:
    await rate_limits.clear_counts()
    shop = billed.Shop()
    provider_registry.register(PLATFORM, shop)
    await billed.sell()
    ann, gil, bea, carl = [await factories.create_account(name) for name in ("Ann", "Gil", "Bea", "Carl")]
    acme = await factories.create_tenant(ann, ACME, plan="enterprise")
    globex = await factories.create_tenant(gil, GLOBEX, plan="enterprise")
    ida = await factories.create_account("Ida")
    initech = await factories.create_tenant(ida, "Initech")
    hooli = await factories.create_tenant(await factories.create_account("Hal"), "Hooli")
    roles = {role: await factories.create_account(role.title()) for role in ROLES if role != OWNER}
    for role, account in roles.items():
        await factories.join_tenant(ann, acme.slug, account, role)
    for owner, slug in ((ann, acme.slug), (gil, globex.slug)):
        await factories.join_tenant(owner, slug, bea, "admin")
    iris = await factories.create_account("Iris")  # of Globex, and invited by Acme
    await factories.join_tenant(gil, globex.slug, iris, "member")
    operators = {role: await factories.create_operator(role.title(), role) for role in OPERATOR_ROLES}
    for number, tenant in enumerate((acme, globex), start=1):
        await _given(operators[OWNER], tenant.id, number)
    billed_words = {}
    for number, (owner, tenant) in enumerate(((ann, acme), (gil, globex)), start=1):
        billed_words[tenant.id] = await billed.bill(shop, owner.cookie, operators[OWNER], tenant, number)
    await run_jobs()
    for number, tenant in enumerate((acme, globex), start=1):
        async with entry.enter_job(tenant.id, "attack", "") as ctx:
            await metered.use(ctx, number)
        await _throttled_once(operators[OWNER], tenant.id, number)
        _ask_for_deletion(tenant.id, tenant.name)
        await billed.recover(shop, tenant, number)
        await billed.refund(shop, operators[OWNER], tenant, number)
    invited = {acme.id: "xanthippe@acme.test", globex.id: "quetzal@globex.test"}
    for owner, tenant in ((ann, acme), (gil, globex)):
        async with entry.enter_tenant(owner.cookie, tenant.slug) as ctx:
            await invitations.invite(ctx, invited[tenant.id], "member")
            await invitations.invite(ctx, LAPSED[tenant.name], "member")
            await invitations.invite(ctx, carl.user.email, "member")  # by both tenants
            if tenant is acme:
                await invitations.invite(ctx, iris.user.email, "member")
            await logos.save(ctx, await logos.redraw_image(_picture(COLOURS[tenant.name])), version=None)
    await run_jobs()
    with World.superuser() as superuser:
        superuser.execute('update "user" set email_verified_at = null where id = %s', [ida.user.id])
        superuser.execute(
            "update invitation set expires_at = now() - interval '1 day' where email = any(%s)",
            [list(LAPSED.values())],
        )
        for tenant in (acme, globex):
            superuser.execute(
                "insert into tenant_host (tenant_id, id, verified_at) values (%s, %s, now())",
                [tenant.id, f"{tenant.slug}.customer.example"],
            )
    for owner, tenant in ((ann, acme), (gil, globex)):
        async with entry.enter_tenant(owner.cookie, tenant.slug) as ctx:
            only = f"Only for {owner.user.email}"
            await notifications.add(ctx, owner.user.id, "attack", only, only, dedupe=new_id("ntf"))
            await mail_preferences.set_preference(ctx, mail_preferences.PAYMENTS, enabled=True)
            await mail_preferences.choose(ctx, "usage_limits", in_app=True, mail=MailChoice.DIGEST)
            await notifications.add(
                ctx, owner.user.id, "usage.limit_warning", only, only, dedupe=new_id("ntf")
            )
            await role_services.create(ctx, OWN_ROLES[tenant.name], "", ["home:read"])
            account = await service_accounts.create(ctx, f"Robot of {tenant.name}", "member")
            await keys.create(
                ctx, keys.KeyRequest(name="Robot", scopes=["home:read"], service_account_id=account.id)
            )
            await token_issuer.create(
                ctx,
                issuer=f"https://{tenant.slug}.example/",
                role="viewer",
                role_claim="groups",
                role_map=[MappedRole(value="staff", role="viewer")],
            )
            for module in registry.list_modules():
                if module.example is not None:
                    await module.example(ctx)
            await ctx.session.flush()
            await webhooked.deliver(ctx)
            await anchor_repository.lock_anchor(ctx)  # makes its row
        await _own_plan(operators[OWNER], tenant.id)
    for tenant in (acme, globex):
        async with entry.enter_tenant(bea.cookie, tenant.slug) as ctx:
            await keys.create(ctx, keys.KeyRequest(name="Of Bea", scopes=["home:read"]))
            answer = idempotency.KeptAnswer(200, {}, f"Kept for {tenant.name}")
            await idempotency.begin(ctx, key="attack", operation="attack", request=b"")
            await idempotency.keep(ctx, key="attack", operation="attack", answer=answer)
    for account, tenant in ((roles["admin"], acme), (bea, globex)):
        await _declined(account.cookie, tenant.slug)
    await decision_counts.flush()
    # The last one leads elsewhere than the others: it is what a statement about all tenants would find.
    # It is none of those that are attacked, or their own change would be the newest of all.
    states = {globex.id: "pending_verification", initech.id: "pending_verification", acme.id: "active"}
    states[hooli.id] = "active"
    for tenant_id, state in states.items():
        await _suspended_once(operators[OWNER], tenant_id, state)
        _add_deletions(tenant_id, is_scheduled=tenant_id == globex.id)
    await _verified(((ann, acme.slug, acme.id), (gil, globex.slug, globex.id)))
    for owner, tenant in ((ann, acme), (gil, globex)):
        await _export(owner.cookie, tenant.slug)
    return World(
        ann=ann,
        roles=roles,
        gil=gil,
        bea=bea,
        carl=carl,
        operators=operators,
        acme=acme.id,
        acme_slug=acme.slug,
        globex=globex.id,
        globex_slug=globex.slug,
        initech=initech.id,
        names={acme.id: acme.name, globex.id: globex.name},
        secrets={
            acme.id: (acme.id, invited[acme.id], ann.user.email),
            globex.id: (globex.id, invited[globex.id], gil.user.email),
        },
        billed=billed_words,
        former_slugs=await _former_slugs(acme.id, globex.id),
        support=await _supported(operators[OWNER], ann, acme, gil, globex),
        shop=await billed.add_shop(operators[OWNER]),
        flags=(await _make_flag(operators[OWNER]), await _make_flag(operators[OWNER])),
    )


async def _supported(
    operator: str, ann: factories.SignedInUser, acme: Tenant, gil: factories.SignedInUser, globex: Tenant
) -> SupportSession:
    """An operator has acted for both owners. Returns the session for Acme's."""
    sessions = []
    for owner, tenant in ((gil, globex), (ann, acme)):
        membership = await support_sessions.find_membership(owner.cookie, tenant.slug, owner.user.id)
        sessions.append(await support_sessions.start(operator, tenant.id, membership))
        async with sessions[-1].ctx():
            pass  # the visit is recorded
        async with entry.enter_tenant(owner.cookie, tenant.slug) as ctx:
            await support_access.set_consent_needed(ctx, True)
        await support_sessions.request(operator, tenant.id, membership)
        async with entry.enter_tenant(owner.cookie, tenant.slug) as ctx:
            await support_access.set_consent_needed(ctx, False)
    return sessions[-1]


async def _given(cookie: str, tenant_id: str, number: int) -> None:
    """A row in every table of what a tenant may use, another one for each."""
    later, why = now() + timedelta(days=30 + number), f"Ticket {5000 + number}"
    async with entry.enter_operator(cookie) as octx:
        offers = {
            offer.key: offer for offer in (await tenant_access.get_tenant_access(octx, tenant_id)).offers
        }
        await tenant_access.add_addon(
            octx, tenant_id, offers["extra_seats"].id, number, state_reason(octx, why, tenant_id=tenant_id)
        )
        await tenant_access.override_limit(
            octx,
            tenant_id,
            "customers",
            4_470 + number,
            state_reason(octx, why, tenant_id=tenant_id),
            ends_at=later,
        )
        await tenant_access.override_feature(
            octx, tenant_id, "sso", number == 1, state_reason(octx, why, tenant_id=tenant_id), ends_at=later
        )
        await tenant_access.set_billing_status(
            octx, tenant_id, "active", state_reason(octx, why, tenant_id=tenant_id)
        )
        await tenant_access.set_flag_override(
            octx, tenant_id, "role_editor", True, state_reason(octx, why, tenant_id=tenant_id)
        )
        await tenant_access.set_trait(
            octx,
            tenant_id,
            "cohort",
            ("enterprise", "small")[number - 1],
            state_reason(octx, why, tenant_id=tenant_id),
        )


async def _export(cookie: str, slug: str) -> None:
    """A file of every kind, a second upload, an export that waits, and an upload that has not arrived."""
    for kind in EXPORT_KINDS:
        async with entry.enter_tenant(cookie, slug) as ctx:
            await exports.begin(ctx, kind, "csv", {})
    await run_jobs()
    await storage_registry.close()
    async with entry.enter_tenant(cookie, slug) as ctx:
        await exports.begin(ctx, next(iter(EXPORT_KINDS)), "csv", {})
    for _ in range(2):
        async with entry.enter_tenant(cookie, slug) as ctx:
            path = await uploads.reserve(ctx)
        received = await uploads.receive(path, _send(b"A report"), length=None)
        async with entry.enter_tenant(cookie, slug) as ctx:
            await uploads.finish(ctx, received, "report.txt")
    await storage_registry.close()
    async with entry.enter_tenant(cookie, slug) as ctx:
        await uploads.reserve(ctx)


async def _send(content: bytes) -> AsyncIterator[bytes]:
    yield content


async def _former_slugs(*tenant_ids: str) -> dict[str, str]:
    """As if each had changed its address yesterday."""
    former_slugs = {tenant_id: f"former-{tenant_id[-12:].lower()}" for tenant_id in tenant_ids}
    with World.superuser() as superuser:
        for tenant_id, slug in former_slugs.items():
            superuser.execute(
                "insert into former_slug values (%s, %s, now() + interval '89 days'),"
                " (%s, %s, now() - interval '1 day')",
                [tenant_id, slug, tenant_id, LEFT_BY_BOTH],
            )
    return former_slugs


async def _make_flag(cookie: str) -> str:
    """The key of a new flag."""
    key, day = f"attack_{new_id('x')[-10:]}", (now() + timedelta(days=30)).date()
    async with entry.enter_operator(cookie) as octx:
        why = state_reason(octx, "Ticket 4475")
        await flag_admin.create_flag(octx, key, "A flag", "Something new.", "Access team", day, why)
    return key


async def _own_plan(cookie: str, tenant_id: str) -> None:
    """Made for this tenant, published, and held by nobody."""
    key = f"own_{tenant_id[-12:].lower()}"
    async with entry.enter_operator(cookie) as octx:
        draft = await catalog_drafts.create_plan(octx, "plan", key, "Own plan", "", for_tenant=tenant_id)
        confirmed = plan_content.compute_digest(draft, await catalog_drafts.lock_catalog(octx), False, None)
        why = "Ticket 4474"
        request = catalog_drafts.PublishRequest(
            revision=draft.revision, reason=why, moves=False, confirmed_digest=confirmed
        )
        await catalog_drafts.publish(octx, draft.id, request)


async def _declined(cookie: str, slug: str) -> None:
    """Somebody wants no mails about payments, and is refused what only an owner may do."""
    async with entry.enter_tenant(cookie, slug) as ctx:
        await mail_preferences.set_preference(ctx, mail_preferences.PAYMENTS, enabled=False)
    try:
        async with entry.enter_tenant(cookie, slug) as ctx:
            policy.require(ctx, actions.OWNER_TRANSFER)
    except Refused:
        return
    raise AssertionError("an admin was not refused, so no refusal was counted")


async def _suspended_once(cookie: str, tenant_id: str, state: str) -> None:
    """Out of a state in which not everybody has been, so that the trails differ."""
    with World.superuser() as superuser:
        superuser.execute("update tenant set state = %s where id = %s", [state, tenant_id])
        for act in (tenant_directory.suspend_tenant, tenant_directory.restore_tenant):
            async with entry.enter_operator(cookie) as octx:
                await act(octx, tenant_id, state_reason(octx, "Ticket 4470", tenant_id=tenant_id))
        superuser.execute("update tenant set state = 'active' where id = %s", [tenant_id])


def _add_deletions(tenant_id: str, *, is_scheduled: bool) -> None:
    """One that was cancelled, and one that is to come. Their subscriptions would refuse real ones."""
    with World.superuser() as superuser:
        for canceled_at in (now(), None) if is_scheduled else (now(),):
            superuser.execute(
                "insert into tenant_deletion (tenant_id, id, reason, requested_by, by_operator, delete_at, canceled_at)"
                " values (%s, %s, 'A reason', 'Olga', true, now() + interval '30 days', %s)",
                [tenant_id, new_id("tdl"), canceled_at],
            )


def _ask_for_deletion(tenant_id: str, name: str) -> None:
    """A request that waits for a second operator. In development none is asked for."""
    with World.superuser() as superuser:
        superuser.execute(
            "insert into operator_approval (id, action, object_id, subject, payload, shown, digest, reason, requested_by,"
            " requested_by_name, expires_at) select %s, 'op:tenant:delete', %s, %s, '{\"grace_days\": 30}', '[]',"
            " repeat('0', 64), 'Ticket 4477', id, name, now() + interval '1 day' from operator order by id limit 1",
            [new_id("apr"), tenant_id, name],
        )


async def _throttled_once(cookie: str, tenant_id: str, number: int) -> None:
    """An ended limit of the tenant's rate, and numbers of what it cost."""
    for change in ("throttle", "end"):
        async with entry.enter_operator(cookie) as octx:
            reason = state_reason(octx, "Ticket 4481", tenant_id=tenant_id)
            if change == "throttle":
                await noisy_tenants.throttle(octx, tenant_id, reason, percent=50, minutes=60)
            else:
                await noisy_tenants.end_throttle(octx, tenant_id, reason)
    for _ in range(number):
        tenant_load.count_request(tenant_id)
    await load_recorder.record()


async def _verified(owners: Sequence[tuple[factories.SignedInUser, str, str]]) -> None:
    """Audit logs with events of both formats, sealed and verified, and one event that waits for its seal."""
    for number, (owner, slug, tenant_id) in enumerate(owners, start=2):
        with psycopg.connect(database.admin_url(make_url(db.login_url("app")).database or "")) as connection:
            audit_chains.make_former(connection, tenant_id, number)
        for _ in range(number):
            async with entry.enter_tenant(owner.cookie, slug) as ctx:
                await audit_reader.verify_audit_log(ctx)
                audit_log.record(ctx, "checklist.completed", "attack")


def _picture(colour: str) -> bytes:
    out = io.BytesIO()
    Image.new("RGB", (8, 8), colour).save(out, "PNG")
    return out.getvalue()


async def run_jobs() -> None:
    """Until nothing is left: a tenant's jobs run one after another, each promising the next."""
    async with run_mailbox():
        for _ in range(40):
            await worker.run(
                worker.list_tenant_tasks(),
                worker.list_platform_tasks(),
                entry.enter_job,
                wait=False,
            )
            with World.superuser() as superuser:
                left = superuser.execute(
                    "select count(*) as n from procrastinate_jobs where status in ('todo', 'doing')"
                    " and coalesce(scheduled_at, now()) <= now()"
                ).fetchone()
            if left is not None and left["n"] == 0:
                return
            await asyncio.sleep(0.05)
    raise AssertionError("jobs are left over")
