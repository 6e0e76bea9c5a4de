"""The shop as the migrations leave it: what one test sells or pauses, no other one finds."""

import psycopg

from tests.support.database import admin_url

# As superuser, past the triggers that keep a price for ever. What was bought in a test keeps its rows: nobody looks.
CLEAN_SQL = """
    set session_replication_role = replica;
    delete from provider_price;
    delete from price where created_by <> 'Bulkhead';
    delete from provider_account where id <> 'platform';
    update provider_account set paused_at = null, pause_reason = '', external_id = '';
    delete from inbound_webhook;
    set session_replication_role = origin;
    update plan set retired_at = now() where created_by <> 'Bulkhead' and retired_at is null;
"""


def clean_billing_rows(name: str) -> None:
    """`name`: of the database."""
    with psycopg.connect(admin_url(name), autocommit=True) as connection:
        connection.execute(CLEAN_SQL)
