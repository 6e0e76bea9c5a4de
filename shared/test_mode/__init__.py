"""Test mode: a sibling of the organisation with data of its own, for programs that are being developed."""
