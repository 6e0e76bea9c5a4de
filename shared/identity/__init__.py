"""Who people are. Owns accounts, credentials, sessions and factors of both realms; knows nothing about tenants."""
