"""`python -m tests.bench.receiver SIDE PORT`: a server that takes webhooks, for `tests.bench.storms`.

`ours` is the HTTP half of the tenant app as the product serves it, with its log lines and headers. The others are bare
Starlette: `noop` reads the body and answers, `edge` does so behind what stands before every route of ours; `bare`
checks one digest and groups as we do; `single` writes each by itself; `sdk` groups as we do and opens with Stripe's
SDK; `orm` is what a handler typically looks like. `all` is every one of them in one process, each below its name.
"""

import asyncio
import importlib
import os
import sys
import time
from datetime import UTC, datetime
from functools import cache
from typing import Any

import msgspec
import stripe
from sqlalchemy import DateTime
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker, create_async_engine
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from shared.billing.accounts import WEBHOOK_PATH
from shared.billing.inbound_webhooks import ingest, ingest_repository
from shared.billing.inbound_webhooks.ingest_repository import ReceivedWebhook
from shared.billing.inbound_webhooks.signature import InvalidWebhook, verify_event
from shared.billing.models import PLATFORM
from shared.cli import parent_watch
from shared.core import db, log
from shared.core.config import settings
from shared.core.rate_limits import RateLimit
from shared.web import app_sites, http_app, tenant_http
from tests.bench import nonce
from tests.bench.envelopes import is_signed

serving: Any = importlib.import_module("shared.cli.serve")  # its package has a command of that name
AT_ONCE = 10  # connections of `single`: as many as the pool keeps


class Base(DeclarativeBase):
    pass


class Subject(msgspec.Struct):
    customer: str


class Data(msgspec.Struct):
    object: Subject


class Event(msgspec.Struct):
    """The least that has to be read of a body to keep it."""

    id: str
    type: str
    livemode: bool
    api_version: str
    created: int
    data: Data


class PeerEvent(Base):
    __tablename__ = "peer_inbox"  # the same columns and indexes as ours

    account_id: Mapped[str] = mapped_column(primary_key=True)
    event_id: Mapped[str] = mapped_column(primary_key=True)
    type: Mapped[str]
    livemode: Mapped[bool]
    api_version: Mapped[str]
    created_at: Mapped[datetime] = mapped_column(DateTime(timezone=True))
    customer_id: Mapped[str]
    payload: Mapped[bytes]


def _signature(request: Request) -> str:
    return request.headers.get("stripe-signature", "")


def _constructed(body: bytes, request: Request) -> Any:
    return stripe.Webhook.construct_event(body, _signature(request), settings().stripe_secrets[0])


async def noop(request: Request) -> Response:
    await request.body()
    return Response()


async def bare(request: Request) -> Response:
    """The floor: whatever commits and knows whom it believes costs as much."""
    body = await request.body()
    if not is_signed(body, _signature(request), settings().stripe_secrets[0]):
        return Response(status_code=400)
    event = msgspec.json.decode(body, type=Event)
    row = ReceivedWebhook(
        *(PLATFORM, event.id, event.type, event.livemode, event.api_version),
        *(datetime.fromtimestamp(event.created, UTC), event.data.object.customer, body, "pending"),
    )
    await ingest._batcher.add(row)
    return Response()


@cache
def _slots() -> asyncio.Semaphore:
    return asyncio.Semaphore(AT_ONCE)


async def single(request: Request) -> Response:
    body = await request.body()
    try:
        event = verify_event(body, _signature(request), settings().stripe_secrets, time.time())
    except InvalidWebhook:
        return Response(status_code=400)
    row = ReceivedWebhook(
        *(PLATFORM, event.id, event.type, event.livemode, event.api_version or ""),
        *(event.created_at, event.customer_id, body, "pending"),
    )
    async with _slots(), db.raw_connection() as connection:
        await ingest_repository.insert_webhooks(connection, [row])
    return Response()


async def sdk(request: Request) -> Response:
    body = await request.body()
    try:
        event = _constructed(body, request)
    except (ValueError, stripe.SignatureVerificationError):
        return Response(status_code=400)
    row = ReceivedWebhook(
        *(PLATFORM, event.id, event.type, event.livemode, event.api_version),
        *(datetime.fromtimestamp(event.created, UTC), event.data.object["customer"], body, "pending"),
    )
    await ingest._batcher.add(row)
    return Response()


@cache
def _sessions() -> async_sessionmaker[AsyncSession]:
    address = db.login_url("app").replace("postgresql", "postgresql+psycopg", 1)
    return async_sessionmaker(create_async_engine(address, pool_size=32), expire_on_commit=False)


async def orm(request: Request) -> Response:
    body = await request.body()
    try:
        event = _constructed(body, request)
    except (ValueError, stripe.SignatureVerificationError):
        return Response(status_code=400)
    async with _sessions()() as session:
        if await session.get(PeerEvent, (PLATFORM, event.id)) is None:
            session.add(
                PeerEvent(
                    account_id=PLATFORM,
                    event_id=event.id,
                    type=event.type,
                    livemode=event.livemode,
                    api_version=event.api_version,
                    created_at=datetime.fromtimestamp(event.created, UTC),
                    customer_id=event.data.object["customer"],
                    payload=body,
                )
            )
            try:
                await session.commit()
            except IntegrityError:
                await session.rollback()
    return Response()


HANDLERS = {"noop": noop, "bare": bare, "single": single, "sdk": sdk, "orm": orm}
SIDES = ("ours", "edge", *HANDLERS)


def app_of(side: str) -> Any:
    if side == "ours":
        RateLimit.WEBHOOK_ACCOUNT._value_ = (
            "1000000/second",
            "webhooks",
        )  # counted, and never too often
        return tenant_http.app
    if side == "edge":
        return http_app.build_app(app_sites.TENANT, Route(WEBHOOK_PATH, noop, methods=["POST"]))
    return Starlette(routes=[Route(WEBHOOK_PATH, HANDLERS[side], methods=["POST"])])


def all_sides() -> Any:
    """`/SIDE/…` is `/…` of that side. Nothing of theirs runs when the server starts."""
    apps = {side: app_of(side) for side in SIDES}

    async def asked(scope: Any, receive: Any, send: Any) -> None:
        side, path = "noop", ""
        if scope["type"] == "http":
            side, _, path = scope["path"].removeprefix("/").partition("/")
            scope = scope | {"path": f"/{path}", "raw_path": f"/{path}".encode()}
        await apps[side](scope, receive, send)

    return asked


if __name__ == "__main__":
    side, port = sys.argv[1:]
    parent_watch.end_with_parent(os.getppid())
    log.configure()
    app = all_sides() if side == "all" else app_of(side)
    serving.run_server(nonce.answering(app), settings().tenant_url, port=int(port))
