"""Addresses of webhooks: who does not know the secret of this one, and who knows it and speaks of somebody else's."""

import json
import time
from collections.abc import Iterator
from typing import Any

from shared.billing import accounts, provider_registry
from shared.billing.inbound_webhooks import processing
from shared.core import db
from shared.core.config import DEMO_STRIPE_SECRET
from shared.core.ids import new_id
from tests.attack import billed
from tests.attack.apps import App
from tests.attack.report import Report
from tests.attack.world import World
from tests.support.billing import webhooks

KIND = "hooks"
DAY = 24 * 3_600
Forged = tuple[str, bytes, str | None]  # what it is, the body, the header


async def attack(app: App, world: World, report: Report) -> None:
    secrets = {f"/webhooks/stripe/{world.shop}": billed.SECRET, "/webhooks/stripe": DEMO_STRIPE_SECRET}
    customer = world.claims("customer_id", world.globex)[0]
    forged, before = list[str](), world.prints()
    for path, secret in secrets.items():
        (other,) = {*secrets.values()} - {secret}
        name = path.replace(world.shop, "{token}")
        for description, body, header in _forged(customer, secret, other):
            forged.append(_id(body))
            status = await _send(app, path, body, header)
            report.attempt(
                KIND, f"{app.name} {name}: {description}: {status}", refused=status in (400, 403, 404)
            )
    report.attempt(KIND, f"{app.name}: none of these was kept", refused=not _kept(world, forged))
    if app.name == "admin":
        body = webhooks.build_body_about(_subject(customer))
        works = await app.ask("GET", "/healthz")
        report.control(KIND, "admin: it answers others", works=works.status_code == 200)
        status = await _send(app, "/webhooks/stripe", body, webhooks.build_signature(body))
        report.attempt(KIND, f"admin: takes what is signed: {status}", refused=status != 200)
        return
    await _genuine(app, secrets, world, report)
    await _of_another_account(app, world, customer, report)
    report.attempt(KIND, "all of these changed nothing", refused=world.prints() == before)
    unknown = await app.ask("POST", f"/webhooks/stripe/{world.shop[:-2]}zz", headers={"accept": "*/*"})
    nothing = await app.ask("POST", "/webhooks/elsewhere", headers={"accept": "*/*"})
    same = [answer.text.replace(answer.headers["x-request-id"], "") for answer in (unknown, nothing)]
    refused = unknown.status_code == nothing.status_code == 404 and same[0] == same[1]
    report.attempt(KIND, "an address that is nobody's: the same as nothing", refused=refused)


def _forged(customer: str, secret: str, other: str) -> Iterator[Forged]:
    """All of them would be taken, were they what they say."""

    def body(**changed: Any) -> bytes:
        return webhooks.build_body_about(_subject(customer), **changed)

    yield "without a signature", body(), None
    yield "with an empty signature", body(), ""
    payload = body()
    yield "signed for another address", payload, webhooks.build_signature(payload, other)
    yield "signed by nobody", body(), f"t={int(time.time())},v1={'0' * 64}"
    yield "with the signature of something else", body(), webhooks.build_signature(body(), secret)
    payload = body()
    yield (
        "changed after it was signed",
        payload.replace(b"updated", b"deleted"),
        webhooks.build_signature(payload, secret),
    )
    for age, ago in (("an hour", 3_600), ("a day", DAY), ("an hour ahead", -3_600)):
        payload = body()
        yield f"signed {age}", payload, webhooks.build_signature(payload, secret, ago=ago)
    payload = body()
    yield "by an older scheme", payload, webhooks.build_signature(payload, secret).replace("v1=", "v0=")
    payload = body(livemode=True)
    yield "of the other mode", payload, webhooks.build_signature(payload, secret)
    payload = body(object="v2.core.event")
    yield "a thin one", payload, webhooks.build_signature(payload, secret)


async def _genuine(app: App, secrets: dict[str, str], world: World, report: Report) -> None:
    """One event for two accounts, of a customer that nobody has: each is its own."""
    body = webhooks.build_body_about(_subject(f"cus_{new_id('x')}"))
    for path, secret in secrets.items():
        status = await _send(app, path, body, webhooks.build_signature(body, secret))
        report.control(KIND, f"{path.replace(world.shop, '{token}')}: signed: {status}", works=status == 200)
    report.control(KIND, "the same id from two accounts is kept twice", works=_kept(world, [_id(body)]) == 2)


async def _of_another_account(app: App, world: World, customer: str, report: Report) -> None:
    """Its sender may say whatever it likes, also the name of a customer that Globex is at ours."""
    body = webhooks.build_body_about(_subject(customer))
    status = await _send(
        app, f"/webhooks/stripe/{world.shop}", body, webhooks.build_signature(body, billed.SECRET)
    )
    async with db.transaction() as session:
        account = await accounts.find_by_token(session, world.shop)
    assert account is not None
    provider_registry.register(account.id, billed.Shop())  # which is asked whose customer it is
    await processing.drain()
    with world.superuser() as superuser:
        row = superuser.execute(
            "select status from inbound_webhook where event_id = %s", [_id(body)]
        ).fetchone()
    parked = row is not None and row["status"] == "parked"
    report.attempt(KIND, f"of another account, about a customer of Globex: {status}", refused=parked)


async def _send(app: App, path: str, body: bytes, header: str | None) -> int:
    headers = {"content-type": "application/json"} | ({} if header is None else {"stripe-signature": header})
    return (await app.ask("POST", path, origin=None, content=body, headers=headers)).status_code


def _subject(customer: str) -> dict[str, str]:
    return {"id": f"sub_{customer}", "object": "subscription", "customer": customer}


def _id(body: bytes) -> str:
    return str(json.loads(body)["id"])


def _kept(world: World, event_ids: list[str]) -> int:
    with world.superuser() as superuser:
        rows = superuser.execute(
            "select 1 from inbound_webhook where event_id = any(%s)", [event_ids]
        ).fetchall()
    return len(rows)
