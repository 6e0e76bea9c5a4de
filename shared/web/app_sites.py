"""Which of the two apps a request is for: its realm, its own address, how its doors introduce themselves."""

from dataclasses import dataclass
from functools import cached_property
from urllib.parse import urlsplit

from starlette.requests import Request

from shared.core.config import settings
from shared.identity.realms import OPERATOR, USER, Realm


@dataclass(frozen=True)
class Site:
    realm: Realm
    app_name: str  # `data-app` of the look

    @cached_property
    def origin(self) -> str:
        """Exactly this, and nothing else, may post to us and open sockets."""
        return settings().admin_url if self.is_operator_app else settings().tenant_url

    @property
    def is_operator_app(self) -> bool:
        return self.realm is OPERATOR

    @property
    def api_prefixes(self) -> tuple[str, ...]:
        """Trees that programs call: what comes there carries its own proof and no cookie.

        The operators' /webhooks is a page like any other.
        """
        return ("/api/",) if self.is_operator_app else ("/api/", "/webhooks/")

    @cached_property
    def socket_origin(self) -> str:
        parts = urlsplit(self.origin)
        return f"{'wss' if parts.scheme == 'https' else 'ws'}://{parts.netloc}"


TENANT = Site(USER, "tenant")
ADMIN = Site(OPERATOR, "operator")


def get_site(request: Request) -> Site:
    site = request.app.state.site
    assert isinstance(site, Site)
    return site
