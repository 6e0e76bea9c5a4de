"""What the database itself says about its tables: the judge over our registry and our promises."""

from dataclasses import dataclass
from typing import Any, LiteralString

from shared.core.db import TenantRow
from tests.support import database

APP_ROLES = ("bulkhead_app", "bulkhead_operator")
# Global on purpose: read before a tenant is known, or about no tenant. Everything else carries tenant_id.
GLOBAL_TABLES = {
    "platform_anchor",
    "alembic_version",
    "alert_state",
    "alert_subscription",
    "audit_sealer",
    "bug_report",
    "customer_sync",
    "entitlement_epoch",
    "event_dispatcher",
    "factor_reset",
    "flag",
    "flag_version",
    "former_version_access",
    "inbound_webhook",
    "job_failure",
    "job_signing",
    "mail_suppression",
    "mail_webhook_token",
    "operator",
    "operator_approval",
    "operator_chain_lock",
    "operator_challenge",
    "operator_credential",
    "operator_device",
    "operator_event",
    "operator_idempotency_key",
    "operator_key",
    "operator_recovery_code",
    "operator_session",
    "operator_totp",
    "plan",
    "plan_version",
    "platform_key",
    "price",
    "procrastinate_events",
    "procrastinate_jobs",
    "procrastinate_periodic_defers",
    "procrastinate_workers",
    "provider_account",
    "provider_price",
    "reconcile_run",
    "renewed_key",
    "schema_version",
    "security_event",
    "sign_up",
    "traffic_minute",
    "trial_claim",
    "unsent_mail",
    "unsigned_job",
    "user",
    "user_challenge",
    "user_credential",
    "user_device",
    "user_recovery_code",
    "user_session",
    "user_tenant",
    "user_token",
    "user_totp",
}
TABLE_CONDITION = (
    "c.relkind in ('r', 'p') and not c.relispartition and c.relnamespace = 'public'::regnamespace"
)


@dataclass(frozen=True, slots=True)
class Column:
    name: str
    type: str
    required: bool
    default: bool


@dataclass(frozen=True, slots=True)
class Reference:
    """A foreign key, column by column."""

    columns: tuple[str, ...]
    target: str
    target_columns: tuple[str, ...]


def run_query(query: LiteralString, *values: Any, name: str) -> list[tuple[Any, ...]]:
    """As a superuser, in the database of that name."""
    return database.connect(name).execute(query, values or None).fetchall()


def list_tenant_tables(name: str) -> set[str]:
    """Every table with a column tenant_id."""
    rows = run_query(
        "select c.relname from pg_class c join pg_attribute a on a.attrelid = c.oid and a.attname = 'tenant_id'"
        " where not a.attisdropped and c.relkind in ('r', 'p') and not c.relispartition"
        " and c.relnamespace = 'public'::regnamespace",
        name=name,
    )
    return {row[0] for row in rows}


def list_all_tables(name: str) -> set[str]:
    rows = run_query(
        "select relname from pg_class where relkind in ('r', 'p') and not relispartition"
        " and relnamespace = 'public'::regnamespace",
        name=name,
    )
    return {row[0] for row in rows}


def list_registered_tables() -> set[str]:
    """Tables of the models below `TenantRow`, of every module that is loaded."""
    tables, pending_classes = set(), [TenantRow]
    while pending_classes:
        row_class = pending_classes.pop()
        pending_classes += row_class.__subclasses__()
        if hasattr(row_class, "__table__"):
            tables.add(str(row_class.__tablename__))
    return tables


def list_columns(table: str, name: str) -> list[Column]:
    rows = run_query(
        "select a.attname, format_type(a.atttypid, a.atttypmod), a.attnotnull, a.atthasdef from pg_attribute a"
        " where a.attrelid = %s::regclass and a.attnum > 0 and not a.attisdropped order by a.attnum",
        f'public."{table}"',
        name=name,
    )
    return [Column(*row) for row in rows]


def list_references(table: str, name: str) -> list[Reference]:
    rows = run_query(
        "select (select array_agg(a.attname::text order by k.place) from unnest(f.conkey) with ordinality k(n, place)"
        "        join pg_attribute a on a.attrelid = f.conrelid and a.attnum = k.n), t.relname::text,"
        "       (select array_agg(a.attname::text order by k.place) from unnest(f.confkey) with ordinality k(n, place)"
        "        join pg_attribute a on a.attrelid = f.confrelid and a.attnum = k.n)"
        " from pg_constraint f join pg_class t on t.oid = f.confrelid"
        " where f.contype = 'f' and f.conrelid = %s::regclass",
        f'public."{table}"',
        name=name,
    )
    return [Reference(tuple(of), target, tuple(to)) for of, target, to in rows]


def list_unique_keys(table: str, name: str) -> list[tuple[str, ...]]:
    """Columns of every unique index, the primary key among them; expressions are left out."""
    rows = run_query(
        "select (select array_agg(a.attname::text order by k.place) from unnest(i.indkey) with ordinality k(n, place)"
        "        join pg_attribute a on a.attrelid = i.indrelid and a.attnum = k.n)"
        " from pg_index i where i.indisunique and i.indrelid = %s::regclass",
        f'public."{table}"',
        name=name,
    )
    return [tuple(row[0]) for row in rows if row[0]]
