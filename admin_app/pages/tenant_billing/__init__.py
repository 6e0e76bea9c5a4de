"""The tab "Billing" of a tenant's page."""
