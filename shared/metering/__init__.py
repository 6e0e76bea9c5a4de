"""Metering: usage events, counted once; aggregates by hour and month; what of them is billed."""
