"""Addresses of a tenant's pages in mails, notifications and at outside services.

What is stored or sent names the tenant by its id, so it outlives the slug. A member who opens such a link is redirected
to the present address.
"""

from shared.core.config import settings


def build_link(tenant_id: str, page: str) -> str:
    """The address of a page, such as "billing", for outside of the app."""
    return f"{settings().tenant_url}/t/{tenant_id}/{page}"


def build_path(slug: str, stored: str) -> str:
    """The path of a stored page in the tenant at this slug; "" for none."""
    page = get_page(stored)
    return f"/t/{slug}/{page}" if page else ""


def get_page(stored: str) -> str:
    """The name of a stored page. Earlier versions stored its path, such as "/t/acme/billing"."""
    return stored.split("/", 3)[-1] if stored.startswith("/t/") else stored
