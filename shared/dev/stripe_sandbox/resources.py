"""Every noun whose routes the stand-in answers. Importing this registers them; the first that fits answers."""

from types import ModuleType

from shared.dev.stripe_sandbox import (
    accounts,
    balances,
    checkout,
    coupons,
    credit_notes,
    customers,
    events,
    intents,
    invoices,
    meters,
    payment_methods,
    portal,
    prices,
    products,
    refunds,
    resumptions,
    subscription_items,
    subscriptions,
    test_clocks,
    webhook_endpoints,
)

RESOURCES: tuple[ModuleType, ...] = (
    accounts,
    balances,
    checkout,
    coupons,
    credit_notes,
    customers,
    events,
    intents,
    invoices,
    meters,
    payment_methods,
    portal,
    prices,
    products,
    refunds,
    resumptions,
    subscription_items,
    subscriptions,
    test_clocks,
    webhook_endpoints,
)
