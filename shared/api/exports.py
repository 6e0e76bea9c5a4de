"""Lists of a tenant as CSV, for its members: streamed, bounded, and safe to open in a spreadsheet.

A POST, because it leaves a line in the trail: no link and no other site makes somebody export.
"""

import csv
import io
import json
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import AbstractAsyncContextManager
from datetime import datetime
from typing import Any

from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route

from shared.api import doors, forms, visitors
from shared.audit import filters
from shared.audit.models import AuditEvent
from shared.core.ctx import Ctx
from shared.core.db import now
from shared.core.errors import DomainError
from shared.tenancy import entry, exports, roles

FORMULA = (
    "=",
    "+",
    "-",
    "@",
    "\t",
    "\r",
    "＝",
    "＋",
    "－",
    "＠",
)  # how a cell begins that a spreadsheet would run
MARK = "\ufeff"  # or Excel reads UTF-8 as something else
MEMBER_HEAD = ("Name", "Email", "Role", "Status", "Last active", "Joined")
EVENT_HEAD = (
    *("Number", "Time", "Who", "Kind", "Action", "Object", "Reason", "Before", "After", "Details", "Request"),
)
TOO_MANY = (
    f"Only the first {exports.MOST:,} rows are in this file. Narrow the filter on the page for the others."
)
BROKEN_OFF = "This file is not complete."
Step = tuple[Sequence[Sequence[str]], str]  # rows, and where to go on


async def members(request: Request) -> Response:
    slug = request.path_params["slug"]

    async def step(typed: dict[str, str], ctx: Ctx, after: str) -> Step:
        role = typed.get("role", "")
        if not after:
            await exports.begin_members(ctx, typed.get("query", ""), role)
        rows, then = await exports.list_members(
            ctx,
            query=typed.get("query", ""),
            role=role,
            sort=typed.get("sort", "") or "name",
            descending=typed.get("descending", "") == "yes",
            after=after,
        )
        names = {one.key: one.name for one in await roles.list_all(ctx)}
        return [_member_line(one, names) for one in rows], then

    return await _answer(request, f"/t/{slug}/members", "members", MEMBER_HEAD, step)


async def audit(request: Request) -> Response:
    slug = request.path_params["slug"]

    async def step(typed: dict[str, str], ctx: Ctx, after: str) -> Step:
        if not after:
            await exports.begin_events(ctx, typed)
        found = await exports.list_events(ctx, filters.read(typed), after=after)
        return [_event_line(one) for one in found.events], found.older

    return await _answer(request, f"/t/{slug}/audit", "audit", EVENT_HEAD, step)


async def _answer(request: Request, back: str, name: str, head: Sequence[str], step: Any) -> Response:
    """The first step comes before the answer, so that a refusal is one."""
    try:
        typed = await forms.read(request)
        async with _inside(request) as ctx:
            rows, then = await step(typed, ctx, "")
    except DomainError as problem:
        if not doors.wants_page(request.scope) or problem.reason in ("not_found", "not_signed_in"):
            raise
        return doors.refusal_page(request.scope, problem, {}, back)

    async def lines() -> AsyncIterator[str]:
        yield MARK + written([head, *rows])
        count, after = len(rows), then
        while after and count < exports.MOST:
            try:
                async with _inside(request) as ctx:
                    more, after = await step(typed, ctx, after)
            except DomainError as refusal:  # the head of the answer is gone already, so its end says so
                yield written([[f"{BROKEN_OFF} {refusal.detail}"]])
                return
            count += len(more)
            yield written(more)
        if after:
            yield written([[TOO_MANY]])

    headers = {
        "cache-control": "no-store",
        "content-disposition": f'attachment; filename="{ctx.slug}-{name}-{now():%Y-%m-%d}.csv"',
    }
    return StreamingResponse(lines(), media_type="text/csv; charset=utf-8", headers=headers)


def _inside(request: Request) -> AbstractAsyncContextManager[Ctx]:
    return entry.enter_tenant(visitors.cookie_header(request), request.path_params["slug"])


def written(rows: Iterable[Sequence[str]]) -> str:
    out = io.StringIO()
    csv.writer(out, lineterminator="\r\n").writerows([cell(one) for one in row] for row in rows)
    return out.getvalue()


def cell(text: str) -> str:
    """What would be a formula is text: whoever chooses a name does not choose what a colleague's computer does."""
    return f"'{text}" if text.lstrip(" \n").startswith(FORMULA) or text.startswith(FORMULA) else text


def _member_line(one: Any, names: dict[str, str]) -> list[str]:
    status = "Active" if one.state == "active" else "Deactivated"
    return [
        one.name,
        one.email,
        names.get(one.role, ""),
        status,
        _moment(one.seen_at),
        _moment(one.created_at),
    ]


def _event_line(one: AuditEvent) -> list[str]:
    return [
        str(one.seq or ""),
        _moment(one.at),
        one.actor_name,
        one.actor_type,
        one.action,
        one.object_id,
        one.reason,
        *(
            json.dumps(part, ensure_ascii=False) if part else ""
            for part in (one.before, one.after, one.details)
        ),
        one.request_id,
    ]


def _moment(at: datetime | None) -> str:
    """UTC, as spreadsheets and programs read it."""
    return f"{at:%Y-%m-%d %H:%M:%S}Z" if at else ""


ROUTES = [
    Route("/t/{slug}/audit.csv", audit, methods=["POST"]),
    Route("/t/{slug}/members.csv", members, methods=["POST"]),
]
