"""REST endpoints of tenancy. Each parses, calls one service and serialises."""
