"""Offboarding: the deletion of an organisation, with a grace period in which it can be cancelled."""
