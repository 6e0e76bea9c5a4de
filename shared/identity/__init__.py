"""Who people are. Accounts, credentials, sessions and factors of both realms; knows nothing of tenants."""
