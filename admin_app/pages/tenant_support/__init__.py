"""The tab Support of a tenant's page: act for a member, and what was done."""
