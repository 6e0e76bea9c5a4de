"""Events that a transaction sends to open pages when it commits, so that they load again.

`shared.ui.live_updates` receives them. They hold ids only, because every database role can listen. A rollback sends none.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar

from sqlalchemy import text
from sqlmodel.ext.asyncio.session import AsyncSession

CHANNEL = "bulkhead_live"
_skipped_tab: ContextVar[str] = ContextVar("skipped_tab", default="")


@contextmanager
def skip_tab(tab_key: str) -> Iterator[None]:
    """Keeps every `refresh_pages` inside from loading that tab again: its handler shows the change itself.

    Also in transactions that a service opens on its own, as a sync with the payment provider does.
    """
    previous = _skipped_tab.set(tab_key)
    try:
        yield
    finally:
        _skipped_tab.reset(previous)


async def _notify(session: AsyncSession, *words: str) -> None:
    connection = await session.connection()
    await connection.execute(
        text("select pg_notify(:channel, :words)"), {"channel": CHANNEL, "words": " ".join(words)}
    )


async def refresh_pages(session: AsyncSession, tenant_id: str, topic: str) -> None:
    """Pages of this tenant that show the topic load again. Operators watch the tenant "*"."""
    tab_key = _skipped_tab.get()
    await _notify(session, "page", tenant_id, topic, *([tab_key] if tab_key else []))


async def end_session(session: AsyncSession, session_hash: str) -> None:
    """That session has ended: its sockets are closed and its pages reload into the sign-in."""
    await _notify(session, "session", session_hash)


async def refresh_user(session: AsyncSession, user_id: str) -> None:
    """What this person may do has changed: their pages reload."""
    await _notify(session, "user", user_id)


async def refresh_users(session: AsyncSession, user_ids: Sequence[str]) -> None:
    """What these people may do has changed: their pages reload. One statement for all of them."""
    connection = await session.connection()
    await connection.execute(
        text("select pg_notify(:channel, 'user ' || id) from unnest(cast(:ids as text[])) as id"),
        {"channel": CHANNEL, "ids": list(user_ids)},
    )
