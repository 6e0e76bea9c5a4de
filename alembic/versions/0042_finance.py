"""Requests for a second operator's approval.

A new table only. Operators can change nothing of a request but its decision, and nobody decides about an own one.
"""

from alembic import op

revision = "0042"
down_revision = "0041"
branch_labels = None
depends_on = None
works_with = "0004"

ID = 'text collate "C"'
MOMENT = "timestamptz not null default clock_timestamp()"
TABLE = f"""
create table operator_approval (
    id {ID} primary key check (id like 'apr\\_%'), action text not null, object_id text not null,
    subject text not null, payload jsonb not null, shown jsonb not null, digest text not null check (length(digest) = 64),
    reason text not null check (reason <> ''), requested_by {ID} not null references operator,
    requested_by_name text not null, requested_at {MOMENT}, expires_at timestamptz not null,
    state text not null default 'waiting'
        check (state in ('waiting', 'approved', 'declined', 'withdrawn', 'expired')),
    decided_by {ID} references operator, decided_by_name text not null default '', decided_at timestamptz,
    decision_reason text not null default '',
    check (requested_at < expires_at), check ((state = 'waiting') = (decided_at is null)),
    check ((state in ('waiting', 'expired')) = (decided_by is null)),
    check (state not in ('approved', 'declined') or decided_by <> requested_by)
);
create unique index operator_approval_waiting on operator_approval (action, object_id) where state = 'waiting';
create index operator_approval_newest on operator_approval (requested_at desc, id desc);
grant select, insert, update (state, decided_by, decided_by_name, decided_at, decision_reason)
    on operator_approval to bulkhead_operator;
"""


def upgrade() -> None:
    op.execute(TABLE)


def downgrade() -> None:
    op.execute("drop table operator_approval")
