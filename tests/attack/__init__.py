"""The isolation suite: attempts to reach another tenant, generated from what there is, and what became of them."""
