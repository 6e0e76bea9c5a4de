"""The parts of the billing page."""
