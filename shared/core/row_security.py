"""The one way to protect a table, for migrations: row security forced, two policies, narrow grants.

`(select current_setting(…))` and not the bare call: it is evaluated once per statement, so the index is used.
"""

TENANT = "(select current_setting('app.tenant_id', true))"
USER = "(select current_setting('app.user_id', true))"
REASON = "(select current_setting('app.cross_tenant_reason', true))"


def protect(table: str, *, key: str = "tenant_id", app: str = "select, insert, update, delete") -> str:
    """SQL for a tenant-owned table: the current tenant's rows for both apps; operators with a reason can read all
    rows.
    """
    operator = ", ".join(word for word in app.split(", ") if word != "delete")
    return f"""
    alter table {table} enable row level security;
    alter table {table} force row level security;
    create policy tenant_isolation on {table} using ({key} = {TENANT}) with check ({key} = {TENANT});
    create policy operator_cross_tenant on {table} for select to bulkhead_operator using ({REASON} <> '');
    grant {app} on {table} to bulkhead_app;
    grant {operator} on {table} to bulkhead_operator;
    """
