"""What a handler is called with: what an honest page sends, what no page sends, and ids of rows."""

from collections.abc import Iterator
from typing import Any

from shared.access.roles import list_permissions
from shared.audit.public_events import EVENT_TYPES
from shared.backoffice import operator_keys
from shared.core import registry
from shared.core.ids import new_id
from shared.entitlements.features import FEATURES
from shared.entitlements.limits import LIMITS
from tests.attack.world import ACME, CLAIMED

Handler = dict[str, Any]  # as `serve.listing` describes it
WRONG: tuple[Any, ...] = ({"a": 1}, [1, "b"], 7, None, True, "\0", "x" * 5_000)
EXTRA = {"tenant_id": "ten_x", "user_id": "usr_x", "permissions": ["owner:transfer"], "actor_id": "usr_x"}
PREFIXES = {
    "billing_invoice": "in",
    "export": "exp",
    "invitation": "inv",
    "membership": "mem",
    "invoice": "in",
    "notification": "ntf",
    "operator": "opr",
    "role": "rol",
    "plan": "pln",
    "tenant": "ten",
    "version": "plv",
}
# Texts and choices that no row is named by: argument or field, and what an honest caller would send.
HONEST: dict[str, Any] = {
    "range_key": "month",
    "days": "30",
    "grace_days": "30",
    "offer": "plv_pro_1:month:usd",
    "reference": "Transfer 4471",
    "needing": "",
    "stage": "billing",
    "by": "sender",
    "meter": "api_calls",
    "month": "2026-11",
    "searched_id": "",  # goes into the address; the page that opens is attacked with ids of others
    "verb": "pause",
    "step": "day",
    **dict.fromkeys(("actor", "object", "request", "since", "until", "query", "action", "tenant"), ""),
    **dict.fromkeys(("customer", "event", "invoice", "type"), ""),
    **dict.fromkeys(("role", "state", "status", "confirm", "sentence"), ""),
    **dict.fromkeys((f"may_{permission.replace(':', '_')}" for permission in list_permissions()), ""),
    "may_member_read": "on",  # a key without a scope is no key
    **dict.fromkeys(
        (f"may_{scope.replace(':', '_')}" for scope in sorted(operator_keys.list_all_scopes())), ""
    ),
    "may_operator_tenant_read": "on",
    **dict.fromkeys(("effective_at", "ends_at", "percent", "required_feature", "starts_at", "value"), ""),
    **dict.fromkeys(("void_ids", "voids_unpaid"), ""),
    **dict.fromkeys(("city", "country", "line1", "line2", "postal_code", "tax_id", "tax_id_type"), ""),
    **dict.fromkeys((f"event_{name.replace('.', '_')}" for name in EVENT_TYPES), ""),
    "event_member_removed": "on",
    "url": "https://hooks.example.com/attack",
    "mode": "live",
    "overlap": "24",
    "description": "",
    "cleanup_by": "2030-01-01",
    **{f"limit_{name}": "5" for name in LIMITS},
    **{f"mode_{name}": "hard" for name in LIMITS},
    **{f"feature_{name.replace('.', '_')}": "on" for name in FEATURES},
    "code": "goodwill",
    "tax_behavior": "",
    "colour": "#336699",
    "column": "name",
    "comment": "",
    "currency": "usd",
    "dialog": "",
    "effective_on": "",
    "email": "eve@evil.test",
    "export_format": "csv",
    "key": "brand",
    "kind": "plan",
    **dict.fromkeys(("algorithm_eddsa", "algorithm_es256", "algorithm_ps256", "role_claim", "role_map"), ""),
    **dict.fromkeys(("accepts_tokens", "algorithm_rs256"), "on"),
    "audience": "https://api.evil.test",
    "issuer": "https://id.evil.test",
    "jwks_url": "https://id.evil.test/jwks.json",
    "tenant_claim": "organisation",
    "holder": "me",
    "included": "",
    "lifetime": "90",
    "networks": "",
    "origins": "",
    "message": "Payments are disputed.",
    "minutes": "30",
    "ticket": "4471",
    "write_reason": "",
    "moves": "stay",
    "name": ACME,  # as it is: everybody else looks for this word
    "open": False,
    "owner": "Access team",
    "place": "0",
    "part": "flat",
    "period": "month",
    "price": "1.00",
    "reason": "Because it is so",
    "result": "",
    "token": "0a1b-2c3d",
    "seats": "3",
    "slug": "-",
    "tab": "overview",
    "about": "",
    "amount": "20.00",
    "at": "",
    "before": "",
    "comparing": False,
    "on": "on",
    "effect": "cap",
    "own": "none",
    "person": "",
    "priority": "50",
    "threshold": "10.00",
    "lines": "void, api_calls, example-1",
    "maximum": "40.00",
    "expires": "",
    "plan": "",
    "quantity": "1",
    "timing": "default",
    "title": "A title",
    "row_version": "1",
    "version": "plv_pro_1",
    "enabled": True,
    "which": "",
    "answer": "hidden",
    "mail": "off",
    "time_zone": "UTC",
    "shown": "waiting",
    "hours": "24",
    "order": "database",
    "why": "other",
    "trial_days": "0",
}


def prefix_of(table: str) -> str:
    """Of the ids of its rows: as its model makes them, where nobody has said it above."""
    if table in PREFIXES:
        return PREFIXES[table]
    models = [model for module in registry.list_modules() for model in module.tables]
    factories = [model.model_fields["id"].default_factory for model in models if model.__tablename__ == table]
    made = [factory() for factory in factories if factory is not None]
    return str(made[0]).partition("_")[0] if made else "x"  # one of which nobody has said what it is


def unknown_prefix(argument: str, value: str) -> str:
    """Of an id that does not exist, where `value` is one that does. A dialog's row may be of any table."""
    return value.partition("_")[0] if argument == "row_id" else prefix_of(CLAIMED[argument][0])


def filled(handler: Handler, values: dict[str, Any]) -> dict[str, Any]:
    def of(argument: str) -> Any:
        prefix = prefix_of(argument.removesuffix("_id"))
        return values.get(argument, HONEST[argument] if argument in HONEST else new_id(prefix))

    return {
        argument: {field: of(field) for field in kind} if isinstance(kind, list) else of(argument)
        for argument, kind in handler["arguments"].items()
    }


def inputs(handler: Handler) -> Iterator[str]:
    """Names of the arguments, and of the fields of a form."""
    for argument, kind in handler["arguments"].items():
        yield from kind if isinstance(kind, list) else [argument]
