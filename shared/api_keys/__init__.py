"""API keys of a tenant: how programs prove who they are."""
