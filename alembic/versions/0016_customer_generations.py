"""A customer that was deleted at the provider is followed by another one; failing webhook signatures; thin events.

New columns with constant defaults. The unique constraint of tenant and account is replaced by a unique index that has
the generation in it; code of the version before this one inserts generation 0 only, so that it stays unique for it.

That version reads one customer of a tenant in no order. It works until this version has replaced a customer: then it may use
the deleted one for that tenant. So let it run beside this one only while processes are replaced. A downgrade is refused once a
customer was replaced, because subscriptions and invoices of both refer to theirs.
"""

from alembic import op

revision = "0016"
down_revision = "0015"
branch_labels = None
depends_on = None
works_with = "0004"

INDEX = "billing_customer_generation"
TABLES = """
alter table billing_customer add column if not exists generation int not null default 0;
alter table billing_snapshot add column if not exists deleted_customer_id text not null default '';
alter table provider_account add column if not exists signature_failures int not null default 0,
    add column if not exists signature_failed_at timestamptz;
grant update (signature_failures, signature_failed_at) on provider_account to bulkhead_app;
-- What an event without a customer is about, as the provider names it, so that its customer can be found out.
alter table inbound_webhook add column if not exists object_id text not null default '';
grant select (object_id) on inbound_webhook to bulkhead_app;
"""
FORMER = """
alter table inbound_webhook drop column object_id;
alter table provider_account drop column signature_failures, drop column signature_failed_at;
alter table billing_snapshot drop column deleted_customer_id;
alter table billing_customer drop column generation;
"""
CONSTRAINT = "billing_customer_tenant_id_account_id_key"
# The constraint sees all tenants; a query of the owner's sees none.
RESTORE_CONSTRAINT = f"""
alter table billing_customer drop constraint if exists {CONSTRAINT};
do $$ begin
    alter table billing_customer add constraint {CONSTRAINT} unique (tenant_id, account_id);
exception when unique_violation then
    raise exception 'Customers were replaced, which the version before 0016 cannot store.'
        using hint = 'Nothing was changed. Stay on this version, or restore a backup from before the upgrade.';
end $$;
"""


def upgrade() -> None:
    """May be run again: the index is built between two transactions."""
    op.execute(TABLES)
    with op.get_context().autocommit_block():
        op.execute(f"drop index concurrently if exists {INDEX}")  # an interrupted build leaves an invalid one
        op.execute(
            f"create unique index concurrently {INDEX} on billing_customer (tenant_id, account_id, generation)"
        )
    op.execute(f"alter table billing_customer drop constraint if exists {CONSTRAINT}")


def downgrade() -> None:
    """May be run again. Refused before anything is dropped."""
    op.execute(RESTORE_CONSTRAINT)
    with op.get_context().autocommit_block():
        op.execute(f"drop index concurrently if exists {INDEX}")
    op.execute(FORMER)
