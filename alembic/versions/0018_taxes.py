"""What an invoice's total is made up of, the tax in a refund, and whether a price contains its tax.

Adds columns with constant defaults only. `subtotal` is null for invoices that were synced before; code of the version before
this one leaves the columns as they are, and prices that it adds have no tax behavior.
"""

from alembic import op

revision = "0018"
down_revision = "0017"
branch_labels = None
depends_on = None
works_with = "0004"

COLUMNS = """
alter table billing_invoice add column subtotal bigint, add column discount bigint not null default 0,
    add column tax bigint not null default 0, add column included_tax bigint not null default 0;
alter table billing_refund add column tax bigint not null default 0;
alter table price add column tax_behavior text not null default ''
    check (tax_behavior in ('', 'exclusive', 'inclusive'));
"""
FORMER = """
alter table price drop column tax_behavior;
alter table billing_refund drop column tax;
alter table billing_invoice drop column included_tax, drop column tax, drop column discount, drop column subtotal;
"""


def upgrade() -> None:
    op.execute(COLUMNS)


def downgrade() -> None:
    op.execute(FORMER)
