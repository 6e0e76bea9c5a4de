"""/t/[tenant]/webhooks: where the organisation's events are sent, and what became of them."""

from tenant_app.pages.webhooks.view import webhooks_page

__all__ = ["webhooks_page"]
