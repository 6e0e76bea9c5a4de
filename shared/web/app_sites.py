"""The two apps as sites: realm, origin and name. `get_site` returns the site of a request."""

from dataclasses import dataclass
from functools import cached_property
from urllib.parse import urlsplit

from starlette.requests import Request

from shared.core.config import settings
from shared.core.socket_limits import SocketLimits
from shared.identity.realms import OPERATOR, USER, Realm


@dataclass(frozen=True)
class Site:
    realm: Realm
    app_name: str  # value of `data-app` in the HTML

    @cached_property
    def origin(self) -> str:
        """The only origin that may post forms and open sockets."""
        return settings().admin_url if self.is_operator_app else settings().tenant_url

    @property
    def is_operator_app(self) -> bool:
        return self.realm is OPERATOR

    @property
    def api_prefixes(self) -> tuple[str, ...]:
        """Path prefixes for programs, which authenticate without a cookie.

        In the admin app, /webhooks is an ordinary page.
        """
        return ("/api/",) if self.is_operator_app else ("/api/", "/webhooks/")

    @property
    def signed_prefixes(self) -> tuple[str, ...]:
        """Path prefixes whose signed part is the permission. Other sites may post to them; no cookie is read."""
        return () if self.is_operator_app else ("/unsubscribe/",)

    @property
    def form_target(self) -> str:
        """The other origin to which its pages post: the admin app hands codes of support sessions to the tenant app."""
        return settings().tenant_url if self.is_operator_app else ""

    @cached_property
    def socket_limits(self) -> SocketLimits:
        """Of all sockets of this app in this process."""
        return SocketLimits()

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
