"""Alerts: each has a name, an owner, a condition and a runbook in `docs/runbooks`."""
