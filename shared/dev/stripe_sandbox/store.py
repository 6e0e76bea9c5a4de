"""What the stand-in knows: one account per key, its objects and its time. Memory is the truth while it runs.

Keys that begin with an underscore are the sandbox's own notes inside an object: nobody outside sees them.
Objects whose kind begins with an underscore are no Stripe objects at all, but are kept with the others.
"""

import hashlib
import secrets
import string
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from shared.dev.stripe_sandbox.contract import API_VERSION, skeleton
from shared.dev.stripe_sandbox.repository import File

Object = dict[str, Any]
SHOWN = 10
ALPHABET = string.ascii_letters + string.digits


@dataclass
class Request:
    """The call that is being answered; what the clock does by itself has none."""

    id: str | None = None
    idempotency_key: str | None = None


@dataclass
class Fault:
    """What the next requests get instead of an answer. `kind`: 429, 500, 401, timeout, or lost.

    A timeout is not executed; what is lost was, only its answer never arrives (after `seconds`, a 500).
    """

    kind: str
    times: int = 1
    path: str = ""  # only paths that contain this
    seconds: float = 0.0  # before a timeout or a lost answer is given up


@dataclass
class Account:
    sandbox: "Sandbox"
    key: str
    id: str
    livemode: bool = False
    objects: dict[str, dict[str, Object]] = field(default_factory=dict)
    on_event: "list[Callable[[Account, Object], None]]" = field(default_factory=list)
    faults: list[Fault] = field(default_factory=list)
    request: Request = field(default_factory=Request)
    moments: dict[str | None, int] = field(default_factory=dict)
    quiet_until: float = 0.0  # nothing without a test clock is due before; any change makes us look again
    dry: bool = False  # a copy to preview on: invoices are drafted and nobody pays

    @property
    def settings(self) -> Object:
        """Of the account, changed by the control page; call `put(settings)` afterwards."""
        return self.objects["_settings"]["settings"]

    def now(self, of: Object | str | None = None) -> int:
        """The time of an object or customer: of its test clock, else the account's. Due things happen at their own."""
        clock = self.clock_of(of)
        if clock in self.moments:
            return self.moments[clock]
        if clock is not None:
            return int(self.objects["test_helpers.test_clock"][clock]["frozen_time"])
        return int(self.sandbox.clock()) + int(self.settings["offset"])

    def clock_of(self, of: Object | str | None) -> str | None:
        """The test clock that an object (or the customer it belongs to) lives by."""
        if of is None:
            return None
        if isinstance(of, str):
            of = self.objects.get("customer", {}).get(of)
            return of.get("test_clock") if of else None
        if of.get("object") == "test_helpers.test_clock":
            return str(of["id"])
        if of.get("test_clock"):
            return str(of["test_clock"])
        return self.clock_of(of["customer"]) if isinstance(of.get("customer"), str) else None

    def put(self, obj: Object) -> Object:
        """New or changed: objects are changed in place and put again, so that they are written."""
        self.objects.setdefault(obj["object"], {})[obj["id"]] = obj
        self.sandbox.changed.add((self.key, obj["object"], obj["id"]))
        if obj["object"] in TIMED:
            self.quiet_until = 0.0
        return obj

    def get(self, kind: str, id_: str | None) -> Object | None:
        return self.objects.get(kind, {}).get(id_ or "")

    def all(self, kind: str) -> list[Object]:
        """Newest first, as Stripe lists."""
        return list(self.objects.get(kind, {}).values())[::-1]

    def drop(self, kind: str, id_: str) -> None:
        self.objects[kind].pop(id_)
        self.sandbox.changed.add((self.key, kind, id_))

    def emit(self, kind: str, subject: Object, previous: Object | None = None) -> Object:
        """The event that something happened, with the object as it is now."""
        event = skeleton("event", id=new_id("evt"), type=kind, created=self.now(subject))
        event["data"] = {"object": visible(subject)}
        if previous is not None:
            event["data"]["previous_attributes"] = visible(previous)
        event["api_version"] = API_VERSION
        event["request"] = {"id": self.request.id, "idempotency_key": self.request.idempotency_key}
        event["pending_webhooks"] = sum(
            one["status"] == "enabled" and not {kind, "*"}.isdisjoint(one["enabled_events"])
            for one in self.all("webhook_endpoint")
        )
        event["_at"] = self.now()
        self.put(event)
        for tell in self.on_event:
            tell(self, event)
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
        self.on_account: list[Callable[[Account], None]] = []  # told of every account on first sight
        self.changed: set[tuple[str, str, str]] = set()
        self._file = File(path) if path else None
        for key, kind, id_, body in self._file.objects() if self._file else ():
            self._known(key).objects.setdefault(kind, {})[id_] = body

    def account(self, key: str) -> Account:
        """Of any test key, made on first sight."""
        known = key in self.accounts
        account = self._known(key)
        if not known:
            for tell in self.on_account:
                tell(account)
        return account

    def listen(self, tell: Callable[[Account, Object], None]) -> None:
        """Every event of every account, those that are still to come included."""
        for account in self.accounts.values():
            account.on_event.append(tell)
        self.on_account.append(lambda account: account.on_event.append(tell))

    def find(self, kind: str, id_: str) -> tuple[Account, Object] | None:
        """For pages that know an id but no key."""
        for account in self.accounts.values():
            if (found := account.get(kind, id_)) is not None:
                return account, found
        return None

    def save(self) -> None:
        """Write what changed; after every request and every tick."""
        changed, self.changed = self.changed, set()
        if self._file and changed:
            self._file.keep((*one, self.accounts[one[0]].get(*one[1:])) for one in changed)

    def close(self) -> None:
        self.save()
        if self._file:
            self._file.close()

    def _known(self, key: str) -> Account:
        if key not in self.accounts:
            name = hashlib.sha256(key.encode()).hexdigest()[:16]
            account = self.accounts[key] = Account(self, key, f"acct_{name}")
            account.objects["_settings"] = {"settings": {**DEFAULTS, "object": "_settings", "id": "settings"}}
        return self.accounts[key]


TIMED = {"_settings", "checkout.session", "invoice", "subscription", "test_helpers.test_clock"}
# Of an account. `retry_days` lie between one try to collect an invoice and the next; after the last one,
# a subscription becomes what `after_retries` says: unpaid, canceled, or it stays past_due.
DEFAULTS: Object = {"offset": 0, "retry_days": [3, 5, 7], "after_retries": "unpaid"}


def new_id(prefix: str) -> str:
    return f"{prefix}_{''.join(secrets.choice(ALPHABET) for _ in range(24))}"


def visible(value: Any, nested: bool = False) -> Any:
    """A copy of what the outside sees. Lists inside of objects show their first ten, as Stripe's do."""
    if isinstance(value, dict):
        shown = {key: visible(each, True) for key, each in value.items() if not key.startswith("_")}
        if nested and shown.get("object") == "list" and len(shown["data"]) > SHOWN:
            shown |= {"data": shown["data"][:SHOWN], "has_more": True}
        return shown
    if isinstance(value, list):
        return [visible(each, True) for each in value]
    return value
