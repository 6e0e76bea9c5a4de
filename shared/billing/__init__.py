"""Billing. The provider decides about payments; our database decides about access."""
