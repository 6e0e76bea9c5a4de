"""Leaving an organisation, and what its members read while it is suspended.

Adds columns with constant defaults only. Code of the version before this one leaves them as they are.
"""

from alembic import op

revision = "0011"
down_revision = "0009"
branch_labels = None
depends_on = None
works_with = "0004"

COLUMNS = """
alter table membership add column ended_by_self boolean not null default false;
alter table tenant add column suspension_message text not null default '';
"""


def run(sql: str) -> None:
    """As written: no parameters, so a percent sign is a percent sign."""
    op.get_bind().execution_options(no_parameters=True).exec_driver_sql(sql)


def upgrade() -> None:
    run(COLUMNS)


def downgrade() -> None:
    run("alter table tenant drop column suspension_message")
    run("alter table membership drop column ended_by_self")
