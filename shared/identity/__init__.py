"""Accounts, credentials, sessions and factors of both realms. Knows nothing of tenants."""
