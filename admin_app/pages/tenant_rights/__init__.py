"""The tab "Rights" of a tenant's page."""
