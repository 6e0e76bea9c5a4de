"""Keys of operators, answers kept by their idempotency keys, and the owner of a tenant that an operator creates.

The app's role has no right on these tables. `add_unverified_user` lets operators add a person who has no password and has
proven nothing; whoever opens the link in the mail chooses one. New objects only; code of the version before this one uses
none of them.
"""

from alembic import op

revision = "0029"
down_revision = "0028"
branch_labels = None
depends_on = None
works_with = "0004"

ID = 'text collate "C"'
MOMENT = "timestamptz not null default clock_timestamp()"
VERSION = "version int not null default 1, version_at timestamptz, version_by text not null default ''"

TABLES = f"""
create table operator_key (
    id {ID} primary key check (id like 'opk\\_%'), operator_id {ID} not null references operator,
    name text not null check (length(name) between 1 and 60),
    secret_hash text not null unique check (length(secret_hash) = 64), hint text not null,
    previous_hash text not null default '', previous_hint text not null default '', previous_ends_at timestamptz,
    scopes text[] not null, networks text[] not null default '{{}}', expires_at timestamptz,
    created_by_name text not null, created_at {MOMENT}, last_used_at timestamptz, last_used_address text not null default '',
    revoked_at timestamptz, revoked_by text not null default '', {VERSION}
);
create index operator_key_of on operator_key (operator_id, created_at desc, id desc);
create index operator_key_newest on operator_key (created_at desc, id desc);
create index operator_key_previous on operator_key (previous_hash) where previous_hash <> '';
create table operator_idempotency_key (
    id {ID} primary key, request_digest text not null, status int, headers jsonb not null default '{{}}', body bytea,
    created_at {MOMENT}
);
create index operator_idempotency_key_oldest on operator_idempotency_key (created_at);
grant select, insert, update on operator_key to bulkhead_operator;
grant select, insert, update, delete on operator_idempotency_key to bulkhead_operator;
"""

# The same lock as of a sign-up with this address: of two transactions only one adds the person.
ADD_USER = """
create function add_unverified_user(new_id text, address text, shown_name text, chosen_sign_up text) returns void
language plpgsql security definer set search_path = pg_catalog, public, pg_temp as $$
begin
    if chosen_sign_up = '' then
        raise exception 'an unverified person needs a sign-up that nobody has' using errcode = '22023';
    end if;
    perform pg_advisory_xact_lock(hashtextextended('email:' || address, 0));
    insert into "user" (id, email, name, sign_up_id) values (new_id, address, shown_name, chosen_sign_up)
        on conflict (email) do nothing;
end $$;
revoke execute on function add_unverified_user(text, text, text, text) from public;
grant execute on function add_unverified_user(text, text, text, text) to bulkhead_operator;
"""


def upgrade() -> None:
    op.execute(TABLES)
    op.execute(ADD_USER)


def downgrade() -> None:
    op.execute("drop function add_unverified_user(text, text, text, text)")
    op.execute("drop table operator_idempotency_key, operator_key")
