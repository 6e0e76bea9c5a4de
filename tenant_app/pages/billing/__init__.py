"""/t/[tenant]/billing: plan, seats, add-ons and invoices."""

from tenant_app.pages.billing.view import billing_page

__all__ = ["billing_page"]
