"""Prepaid credits that are given back, because the refund that took them failed or a dispute was won.

A check that admits one more kind. The version before this one writes no such entries.
"""

from alembic import op

revision = "0023"
down_revision = "0022"
branch_labels = None
depends_on = None
works_with = "0004"

# Not valid: each row that the narrower checks admitted is admitted by these.
ENTRY_KINDS = """
alter table prepaid_entry drop constraint prepaid_entry_kind_check;
alter table prepaid_entry add constraint prepaid_entry_kind_check
    check (kind in ('grant', 'draw', 'expire', 'void', 'refund', 'restore')) not valid;
alter table prepaid_entry drop constraint prepaid_entry_check;
alter table prepaid_entry add constraint prepaid_entry_check
    check ((kind in ('grant', 'restore')) = (amount > 0) and amount <> 0) not valid;
"""


def upgrade() -> None:
    op.execute(ENTRY_KINDS)


def downgrade() -> None:
    op.execute("alter table prepaid_entry drop constraint prepaid_entry_check")
    op.execute("alter table prepaid_entry drop constraint prepaid_entry_kind_check")
    op.execute(
        "alter table prepaid_entry add constraint prepaid_entry_check"
        " check ((kind = 'grant') = (amount > 0) and amount <> 0) not valid"
    )
    op.execute(
        "alter table prepaid_entry add constraint prepaid_entry_kind_check"
        " check (kind in ('grant', 'draw', 'expire', 'void', 'refund')) not valid"
    )
