"""Measurements against peers and floors: `make bench`. What they may cost at most stands in `rows.py`."""
