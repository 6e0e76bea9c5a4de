"""/t/[tenant]/settings: name, address, colour and logo of the organisation."""

from tenant_app.pages.settings.view import settings_page

__all__ = ["settings_page"]
