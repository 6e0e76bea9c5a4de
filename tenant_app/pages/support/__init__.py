"""The page Support access: which operator acted for whom, why, and what was seen."""

from tenant_app.pages.support import view

__all__ = ["view"]
