"""The state of the sandbox: one account per key, its objects and its time. While it runs, the state is in memory.

Keys that begin with an underscore are the sandbox's internal fields of an object: the API never returns them.
Objects whose kind begins with an underscore are no Stripe objects at all, but are kept with the others.
"""

import hashlib
import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from shared.dev.stripe_sandbox.contract import API_VERSION, build_skeleton
from shared.dev.stripe_sandbox.repository import ObjectFile

Object = dict[str, Any]
MAX_NESTED_ITEMS = 10


@dataclass
class RequestInfo:
    """The request that caused an event; events of the clock have none."""

    id: str | None = None
    idempotency_key: str | None = None


@dataclass
class Fault:
    """An error for the next requests. `kind`: 429, 500, 500-done, 401, timeout, or lost.

    "500" does not run the request, "500-done" runs it; both save the error under the idempotency key.
    "timeout" does not run the request, "lost" runs it; both respond with an error after `seconds`.
    """

    kind: str
    times: int = 1
    path: str = ""  # only paths that contain this
    seconds: float = 0.0  # before a timeout or a lost answer is given up
    method: str = ""  # only requests with this method


@dataclass
class Account:
    sandbox: "Sandbox"
    key: str
    id: str
    livemode: bool = False
    objects: dict[str, dict[str, Object]] = field(default_factory=dict)
    event_listeners: "list[Callable[[Account, Object], None]]" = field(default_factory=list)
    faults: list[Fault] = field(default_factory=list)
    request: RequestInfo = field(default_factory=RequestInfo)
    clock_times: dict[str | None, int] = field(default_factory=dict)
    objects_by_customer: dict[tuple[str, str], dict[str, Object]] = field(
        default_factory=dict
    )  # by kind and customer
    unplanned_keys: dict[tuple[str, str], None] = field(
        default_factory=dict
    )  # whose time has to be planned anew
    agenda: "dict[str | None, list[AgendaEntry]]" = field(
        default_factory=dict
    )  # a heap per test clock, None: real time
    is_preview: bool = False  # a copy to preview on: invoices are drafted and nobody pays

    @property
    def settings(self) -> Object:
        """The settings of the account. After a change, call `put(settings)`."""
        return self.objects["_settings"]["settings"]

    def now(self, subject: Object | str | None = None) -> int:
        """The time of an object or customer: of its test clock, else the account's. Due things happen at their own."""
        clock = self.get_clock_id(subject)
        if clock in self.clock_times:
            return self.clock_times[clock]
        if clock is not None:
            return int(self.objects["test_helpers.test_clock"][clock]["frozen_time"])
        return int(self.sandbox.clock()) + int(self.settings["offset"])

    def get_clock_id(self, subject: Object | str | None) -> str | None:
        """The test clock of an object or of its customer; None for real time."""
        if subject is None:
            return None
        if isinstance(subject, str):
            subject = self.objects.get("customer", {}).get(subject)
            return subject.get("test_clock") if subject else None
        if subject.get("object") == "test_helpers.test_clock":
            return str(subject["id"])
        if subject.get("test_clock"):
            return str(subject["test_clock"])
        return self.get_clock_id(subject["customer"]) if isinstance(subject.get("customer"), str) else None

    def put(self, obj: Object) -> Object:
        """Store a new or changed object. Objects are changed in place, so call it again after each change."""
        self.index_object(obj)
        self.sandbox.changed_keys.add((self.key, obj["object"], obj["id"]))
        return obj

    def index_object(self, obj: Object) -> None:
        """Add the object to the indexes, and plan what happens to it when its time comes."""
        kind, id_, customer = obj["object"], obj["id"], obj.get("customer")
        self.objects.setdefault(kind, {})[id_] = obj
        if isinstance(customer, str):
            self.objects_by_customer.setdefault((kind, customer), {})[id_] = obj
        if kind in TIMED_KINDS:
            self.unplanned_keys[kind, id_] = None

    def plan_again(self, customer: str) -> None:
        """After the customer got another clock: what was planned by the old one happens by the new one."""
        for kind in TIMED_KINDS:
            for id_ in self.objects_by_customer.get((kind, customer), {}):
                self.unplanned_keys[kind, id_] = None

    def get(self, kind: str, id_: str | None) -> Object | None:
        return self.objects.get(kind, {}).get(id_ or "")

    def list_objects(self, kind: str) -> list[Object]:
        """Newest first, as Stripe lists."""
        return list(self.objects.get(kind, {}).values())[::-1]

    def list_for_customer(self, kind: str, customer: str) -> list[Object]:
        """All of a customer, newest first."""
        objects = self.objects_by_customer.get((kind, customer), {}).values()
        return [obj for obj in objects if obj.get("customer") == customer][::-1]

    def delete_object(self, kind: str, id_: str) -> None:
        removed = self.objects[kind].pop(id_)
        self.objects_by_customer.get((kind, removed.get("customer") or ""), {}).pop(id_, None)
        self.sandbox.changed_keys.add((self.key, kind, id_))

    def emit(self, kind: str, subject: Object, previous: Object | None = None) -> Object:
        """The event that something happened, with the object as it is now."""
        event = build_skeleton("event", id=new_id("evt"), type=kind, created=self.now(subject))
        event["data"] = {"object": copy_visible(subject)}
        if previous is not None:
            event["data"]["previous_attributes"] = copy_visible(previous)
        event["api_version"] = API_VERSION
        event["request"] = {"id": self.request.id, "idempotency_key": self.request.idempotency_key}
        event["pending_webhooks"] = sum(
            endpoint["status"] == "enabled" and not {kind, "*"}.isdisjoint(endpoint["enabled_events"])
            for endpoint in self.list_objects("webhook_endpoint")
        )
        event["_at"] = self.now()
        self.put(event)
        for listener in self.event_listeners:
            listener(self, event)
        return event


class Sandbox:
    """All accounts. `base_url` is where people find its hosted pages:

    `/c/{checkout session}`, `/p/{portal session}`, `/i/{invoice}` and `/i/{invoice}/pdf`.
    """

    def __init__(
        self, path: Path | None = None, base_url: str = "", clock: Callable[[], float] = time.time
    ) -> None:
        self.base_url = base_url
        self.clock = clock
        self.accounts: dict[str, Account] = {}
        self.account_listeners: list[Callable[[Account], None]] = []  # called with every new account
        self.changed_keys: set[tuple[str, str, str]] = set()
        self._file = ObjectFile(path) if path else None
        for key, body in self._file.read_objects() if self._file else ():
            self._get_or_create_account(key).index_object(body)

    def get_account(self, key: str) -> Account:
        """The account of a test key, created at its first use."""
        is_known = key in self.accounts
        account = self._get_or_create_account(key)
        if not is_known:
            for listener in self.account_listeners:
                listener(account)
        return account

    def add_event_listener(self, listener: Callable[[Account, Object], None]) -> None:
        """Call `listener` with every event of every account, including accounts created later."""
        for account in self.accounts.values():
            account.event_listeners.append(listener)
        self.account_listeners.append(lambda account: account.event_listeners.append(listener))

    def find_object(self, kind: str, id_: str) -> tuple[Account, Object] | None:
        """Find an object in any account, for pages whose address holds an id but no key."""
        for account in self.accounts.values():
            if (obj := account.get(kind, id_)) is not None:
                return account, obj
        return None

    def save(self) -> None:
        """Write the changed objects to the file. Called after every request and every tick."""
        changed_keys, self.changed_keys = self.changed_keys, set()
        if self._file and changed_keys:
            self._file.write_objects((*key, self.accounts[key[0]].get(*key[1:])) for key in changed_keys)

    def close(self) -> None:
        self.save()
        if self._file:
            self._file.close()

    def _get_or_create_account(self, key: str) -> Account:
        if key not in self.accounts:
            name = hashlib.sha256(key.encode()).hexdigest()[:16]
            account = self.accounts[key] = Account(self, key, f"acct_{name}")
            account.objects["_settings"] = {
                "settings": {**DEFAULT_SETTINGS, "object": "_settings", "id": "settings"}
            }
        return self.accounts[key]


AgendaEntry = tuple[
    int, int, int, str, str
]  # when, what comes first in the same second, a number, kind and id
TIMED_KINDS = {"checkout.session", "invoice", "subscription"}
# Of an account. `retry_days` lie between one try to collect an invoice and the next; after the last one,
# a subscription becomes what `after_retries` says: unpaid, canceled, or it stays past_due. So it does `overdue_days` after
# the due date of an invoice that was sent.
DEFAULT_SETTINGS: Object = {
    "offset": 0,
    "retry_days": [3, 5, 7],
    "after_retries": "unpaid",
    "overdue_days": 30,
}


def new_id(prefix: str) -> str:
    return f"{prefix}_{secrets.token_hex(12)}"


def copy_visible(value: Any, nested: bool = False) -> Any:
    """A copy of what the outside sees. Lists inside of objects show their first ten, as Stripe's do."""
    if isinstance(value, dict):
        public = {key: copy_visible(item, True) for key, item in value.items() if not key.startswith("_")}
        if nested and public.get("object") == "list" and len(public["data"]) > MAX_NESTED_ITEMS:
            public |= {"data": public["data"][:MAX_NESTED_ITEMS], "has_more": True}
        return public
    if isinstance(value, list):
        return [copy_visible(item, True) for item in value]
    return value
