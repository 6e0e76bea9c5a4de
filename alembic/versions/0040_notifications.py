"""Choices of channels, digests, addresses that get no more mail, and the mails that were withheld for it.

New tables, columns with constant defaults and functions; code of the version before this one uses none of them. It reads
`mail_preference.enabled`, which keeps its meaning: a row with `digest` is enabled.

Addresses belong to no tenant, because a person has one mailbox for all of them. The app can't read the list: functions of
the owner answer for one address at a time.
"""

import runpy
from pathlib import Path

from alembic import op

revision = "0040"
down_revision = "0039"
branch_labels = None
depends_on = None
works_with = "0004"

protect = runpy.run_path(str(Path(__file__).parents[1] / "frozen/row_security.py"))["protect"]

ID = 'text collate "C"'
MOMENT = "timestamptz not null default clock_timestamp()"
DEFINER = "security definer set search_path = pg_catalog, public, pg_temp"

# Which kinds there are is declared in code; a new one needs no migration.
COLUMNS = f"""
alter table mail_preference
    add column in_app boolean not null default true,
    add column digest boolean not null default false;
alter table mail_preference drop constraint mail_preference_kind_check;
alter table mail_preference add constraint mail_preference_kind_check check (kind ~ '^[a-z][a-z_]*$' and length(kind) <= 40) not valid;
alter table notification
    add column in_app boolean not null default true,
    add column digest_id {ID} not null default '';
alter table "user" add column time_zone text not null default '';
"""
TABLES = f"""
create table notification_digest (
    tenant_id {ID} not null references tenant, id {ID} not null,
    user_id {ID} not null references "user", due_at timestamptz not null, created_at {MOMENT},
    closed_at timestamptz, sent_at timestamptz,
    primary key (tenant_id, id), unique (tenant_id, user_id, due_at)
);
create table mail_suppression (
    id {ID} primary key check (length(id) between 3 and 254 and id = lower(id)),
    cause text not null check (cause in ('complaint', 'hard_bounce')),
    detail text not null default '' check (length(detail) <= 300), suppressed_at {MOMENT}
);
create index mail_suppression_newest on mail_suppression (suppressed_at desc, id desc);
create table mail_webhook_token (id {ID} primary key check (length(id) = 64), taken_at {MOMENT});
create index mail_webhook_token_oldest on mail_webhook_token (taken_at);
create table unsent_mail (
    id {ID} primary key, address {ID} not null, template text not null, cause text not null, withheld_at {MOMENT}
);
create index unsent_mail_of_address on unsent_mail (address, withheld_at desc);
create index unsent_mail_oldest on unsent_mail (withheld_at);
grant select, delete on mail_suppression to bulkhead_operator;
grant select on unsent_mail to bulkhead_operator;
"""
# False for a token that was taken before. A later complaint doesn't weaken a hard bounce.
TAKE_EVENT = f"""
create function take_mail_event(token_hash text, recipient text, event_cause text, event_detail text) returns boolean
language plpgsql {DEFINER} as $$
begin
    delete from mail_webhook_token where id in (
        select old.id from mail_webhook_token old where old.taken_at < clock_timestamp() - interval '3 days'
        order by old.taken_at limit 100);
    insert into mail_webhook_token (id) values (token_hash) on conflict do nothing;
    if not found then
        return false;
    end if;
    if event_cause <> '' then
        insert into mail_suppression (id, cause, detail) values (lower(recipient), event_cause, left(event_detail, 300))
        on conflict (id) do update set cause = excluded.cause, detail = excluded.detail
            where mail_suppression.cause = 'complaint' and excluded.cause = 'hard_bounce';
    end if;
    return true;
end $$;
"""
# Why this mail must not be sent, and '' where it may. After a complaint, essential mails are still sent.
WITHHOLD = f"""
create function withhold_mail(recipient text, is_essential boolean, mail_id text, mail_template text) returns text
language plpgsql {DEFINER} as $$
declare
    found_cause text;
begin
    select cause into found_cause from mail_suppression where id = lower(recipient);
    if found_cause is null or found_cause = 'complaint' and is_essential then
        return '';
    end if;
    insert into unsent_mail (id, address, template, cause)
        values (left(mail_id, 200), lower(recipient), left(mail_template, 60), found_cause) on conflict do nothing;
    delete from unsent_mail where id in (
        select old.id from unsent_mail old where old.withheld_at < clock_timestamp() - interval '90 days'
        order by old.withheld_at limit 100);
    return found_cause;
end $$;
"""
FIND_PROBLEM = f"""
create function find_mail_problem(person_id text) returns text language sql stable {DEFINER} as $$
    select coalesce((
        select s.cause from "user" u join mail_suppression s on s.id = lower(u.email) where u.id = person_id), '')
$$;
"""
# The person has proven that the address works.
END_SUPPRESSION = f"""
create function end_mail_suppression(person_id text) returns void language sql {DEFINER} as $$
    delete from mail_suppression s using "user" u where u.id = person_id and s.id = lower(u.email)
$$;
"""
FUNCTIONS = {
    "take_mail_event": ("text, text, text, text", TAKE_EVENT),
    "withhold_mail": ("text, boolean, text, text", WITHHOLD),
    "find_mail_problem": ("text", FIND_PROBLEM),
    "end_mail_suppression": ("text", END_SUPPRESSION),
}


def upgrade() -> None:
    op.execute(COLUMNS)
    op.execute(TABLES)
    op.execute(protect("notification_digest", app="select, insert, update"))
    for name, (arguments, body) in FUNCTIONS.items():
        op.execute(body)
        op.execute(f"revoke all on function {name}({arguments}) from public")
        op.execute(f"grant execute on function {name}({arguments}) to bulkhead_app")


def downgrade() -> None:
    for name, (arguments, _) in FUNCTIONS.items():
        op.execute(f"drop function {name}({arguments})")
    op.execute("drop table unsent_mail, mail_webhook_token, mail_suppression, notification_digest")
    op.execute('alter table "user" drop column time_zone')
    op.execute("alter table notification drop column digest_id, drop column in_app")
    op.execute("alter table mail_preference drop column digest, drop column in_app")
    op.execute("delete from mail_preference where kind not in ('payments', 'reminders')")
    op.execute("alter table mail_preference drop constraint mail_preference_kind_check")
    op.execute(
        "alter table mail_preference add constraint mail_preference_kind_check"
        " check (kind in ('payments', 'reminders')) not valid"
    )
