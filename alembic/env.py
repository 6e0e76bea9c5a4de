"""Migrations run as bulkhead_owner, over the connection that `shared.cli.database` hands in."""

from alembic import context
from sqlalchemy import create_engine, pool

from shared.core import db


def main() -> None:
    given = context.config.attributes.get("connection")
    if given is not None:
        context.configure(connection=given, transaction_per_migration=True)
        with context.begin_transaction():
            context.run_migrations()
        return
    url = db.login_url("owner").replace("postgresql://", "postgresql+psycopg://", 1)
    with create_engine(url, poolclass=pool.NullPool).connect() as connection:
        context.configure(connection=connection, transaction_per_migration=True)
        with context.begin_transaction():
            context.run_migrations()


main()
