"""Endpoints of `/api/operator/v1`."""
