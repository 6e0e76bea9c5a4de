"""What pays each subscription, so that an expiring card is announced; emails with reminders can be turned off.

A column with a constant default, and a wider check. Code of the version before this one writes neither.
"""

from alembic import op

revision = "0020"
down_revision = "0019"
branch_labels = None
depends_on = None
works_with = "0004"

# The rows that are there passed the narrower check, so this one needs no validation.
MAIL_KINDS = """
alter table mail_preference drop constraint mail_preference_kind_check;
alter table mail_preference add constraint mail_preference_kind_check check (kind in ({kinds})) not valid;
"""


def upgrade() -> None:
    op.execute("alter table billing_snapshot add column payment_methods jsonb not null default '{}'")
    op.execute(MAIL_KINDS.format(kinds="'payments', 'reminders'"))


def downgrade() -> None:
    op.execute("delete from mail_preference where kind = 'reminders'")
    op.execute(MAIL_KINDS.format(kinds="'payments'"))
    op.execute("alter table billing_snapshot drop column payment_methods")
