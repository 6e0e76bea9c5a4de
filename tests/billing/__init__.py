"""Tests of billing. Their helpers are in `tests/support/billing`, listed in `tests/support/README.md`."""
