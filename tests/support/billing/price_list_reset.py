"""The shop as the migrations leave it: what one test sells or pauses, no other one finds."""

from tests.support import database

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


def clean_billing_rows() -> None:
    """In the database that this process uses now."""
    database.connect().execute(CLEAN_SQL)
