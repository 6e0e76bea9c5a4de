"""Addresses of the operators' pages that carry a question with them."""

from urllib.parse import quote, unquote, urlencode


def explain_url(tenant_id: str, person: str, action: str, **more: str) -> str:
    """The question asked at once; `more`: at, before, plan."""
    return _with_query("/access", tenant=tenant_id, person=person, action=action, **more)


def request_url(tenant_id: str, request_id: str) -> str:
    """What happened in one request, in the tenant's trail."""
    return _with_query(f"/tenants/{tenant_id}", tab="audit", request=request_id)


def webhook_url(account_id: str, event_id: str) -> str:
    return f"/webhooks/{quote(account_id, safe='')}/{quote(event_id, safe='')}"


def parse_webhook_path(path: str) -> tuple[str, str]:
    """Account and event that such an address names: a wish."""
    account_id, _, event_id = path.strip("/").partition("/")[2].partition("/")
    return unquote(account_id), unquote(event_id)


def billing_url(tenant_id: str) -> str:
    """The tab of a tenant's page."""
    return _with_query(f"/tenants/{tenant_id}", tab="billing")


def _with_query(path: str, **parameters: str) -> str:
    query = urlencode({name: value for name, value in parameters.items() if value})
    return f"{path}?{query}" if query else path
