"""The keys under which we keep our own facts in the metadata of Stripe's objects."""

CHANGE_KEY = "bulkhead_change"  # in metadata of subscriptions and schedules: the key of the last change
PRICE_ID_KEY = "bulkhead_price"  # in a price's metadata
DISPUTE_KEY = (
    "bulkhead_dispute"  # in a subscription's metadata: the dispute because of which we paused collection
)
# Beside it: the Unix time of the newest draft that staff had stopped before the pause.
STOPPED_UNTIL_KEY = "bulkhead_dispute_stopped_until"
# In a subscription's metadata: "<unix time>:<key>" of the change for which its tax was turned on, until it is paid.
TAX_KEY = "bulkhead_taxed_for"
TENANT_KEY = "tenant_id"  # in a customer's metadata
ADJUSTMENT_KEY = (
    "bulkhead_adjustment"  # in metadata of balance entries, credit notes, refunds: the idempotency key
)
CANCELED_ADDON_PREFIX = "kept."  # plus our price id, in a subscription's metadata: "<quantity>:<unix time>"
TRANSFER_ORDER_KEY = "bulkhead_transfer_order"  # in a subscription's metadata: the order that started it
