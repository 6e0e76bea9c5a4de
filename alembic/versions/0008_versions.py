"""Versions of the rows that people edit in forms: a stale form is told of the newer change.

Adds columns with constant defaults only. Code of the version before this one leaves versions as they are.
"""

from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None
works_with = "0004"

TABLES = ("role", "tenant", "tenant_settings", "membership", "operator")
COLUMNS = """
alter table "{table}"
    add column version integer not null default 1,
    add column version_at timestamptz,
    add column version_by text not null default '';
"""


def run(sql: str) -> None:
    """As written: no parameters, so a percent sign is a percent sign."""
    op.get_bind().execution_options(no_parameters=True).exec_driver_sql(sql)


def upgrade() -> None:
    for table in TABLES:
        run(COLUMNS.format(table=table))


def downgrade() -> None:
    for table in TABLES:
        run(f'alter table "{table}" drop column version, drop column version_at, drop column version_by')
