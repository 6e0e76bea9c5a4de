"""The pages /health and /health/[alert]; importing it registers them."""

from admin_app.pages.health.runbook import runbook_page
from admin_app.pages.health.view import health_page

__all__ = ["health_page", "runbook_page"]
