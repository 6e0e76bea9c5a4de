"""Addresses of the operators' pages that carry a question with them."""

from urllib.parse import urlencode


def why(tenant_id: str, person: str, action: str, **more: str) -> str:
    """The question asked at once; `more`: at, before, plan."""
    return _with("/access", tenant=tenant_id, person=person, action=action, **more)


def request(tenant_id: str, request_id: str) -> str:
    """What happened in one request, in the tenant's trail."""
    return _with(f"/tenants/{tenant_id}", tab="audit", request=request_id)


def _with(path: str, **known: str) -> str:
    query = urlencode({name: value for name, value in known.items() if value})
    return f"{path}?{query}" if query else path
