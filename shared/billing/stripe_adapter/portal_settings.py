"""What customers find in Stripe's customer portal. The settings are saved in the account and named by every session.

A session without settings is refused until the default ones were saved in the dashboard, and the default ones
may let customers change plans past our rules. https://docs.stripe.com/customer-management/integrate-customer-portal
"""

import hashlib
import json
from dataclasses import dataclass
from typing import Any, cast

import stripe
from stripe.params.billing_portal import ConfigurationUpdateParamsFeatures as UpdatedFeatures

from shared.billing.provider_values import CANCELLATION_FEEDBACK

FEATURES: stripe.params.billing_portal.ConfigurationCreateParamsFeatures = {
    "customer_update": {"enabled": False},
    "invoice_history": {"enabled": True},
    "payment_method_update": {"enabled": True},
    "subscription_cancel": {
        "enabled": True,
        "mode": "at_period_end",
        "proration_behavior": "none",
        "cancellation_reason": {"enabled": True, "options": [*CANCELLATION_FEEDBACK]},
    },
    "subscription_update": {"enabled": False},  # plans and seats are changed on our page, which checks them
}
DIGEST_KEY = "bulkhead_portal"  # in the settings' metadata: a digest of FEATURES
DIGEST = hashlib.sha256(json.dumps(FEATURES, sort_keys=True).encode()).hexdigest()[:16]


@dataclass(frozen=True, slots=True)
class SavedSettings:
    id: str
    is_changed: bool  # by this call


async def find(v1: "stripe.V1Services") -> tuple[str, bool] | None:
    """Id of our active settings, and whether they are those of this version; they may be edited in the dashboard."""
    configurations = await v1.billing_portal.configurations.list_async({"active": True, "limit": 100})
    async for configuration in configurations.auto_paging_iter():
        values = configuration.to_dict()
        if digest := (values.get("metadata") or {}).get(DIGEST_KEY):
            return configuration.id, digest == DIGEST and _has_our_features(values["features"])
    return None


def _has_our_features(features: dict[str, dict[str, Any]]) -> bool:
    return all(
        features.get(name, {}).get(key) == value
        for name, feature in cast(dict[str, dict[str, Any]], FEATURES).items()
        for key, value in feature.items()
    )


async def save(v1: "stripe.V1Services") -> SavedSettings:
    """Idempotent: settings that are saved already are left as they are."""
    metadata = {DIGEST_KEY: DIGEST}
    if (own_settings := await find(v1)) is None:
        created = await v1.billing_portal.configurations.create_async(
            {"features": FEATURES, "metadata": metadata}
        )
        return SavedSettings(created.id, is_changed=True)
    configuration_id, is_current = own_settings
    if not is_current:
        await v1.billing_portal.configurations.update_async(
            configuration_id,
            {"features": cast(UpdatedFeatures, FEATURES), "metadata": metadata},  # the SDK types them twice
        )
    return SavedSettings(configuration_id, is_changed=not is_current)
