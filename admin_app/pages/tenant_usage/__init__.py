"""The tab "Usage" of a tenant's page: what the tenant sees, what of it was billed, and corrections."""
