"""Leaving an organisation: who ended a membership themselves.

Adds a column with a constant default only. Code of the version before this one leaves it as it is.
"""

from alembic import op

revision = "0011"
down_revision = "0009"
branch_labels = None
depends_on = None
works_with = "0004"


def run(sql: str) -> None:
    """As written: no parameters, so a percent sign is a percent sign."""
    op.get_bind().execution_options(no_parameters=True).exec_driver_sql(sql)


def upgrade() -> None:
    run("alter table membership add column ended_by_self boolean not null default false")


def downgrade() -> None:
    run("alter table membership drop column ended_by_self")
