"""Stream a tenant's members, invoices and audit log as CSV files, limited in size and safe to open in a spreadsheet.

Exports are POST requests, because each one is recorded in the audit log and must not start from a link.
"""

import csv
import io
import json
import re
import unicodedata
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import AbstractAsyncContextManager
from datetime import datetime
from typing import Any

from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route

from shared.audit import filters
from shared.audit.audit_log import NumberedEvent
from shared.billing.models import BillingInvoice
from shared.billing.subscriptions import invoices
from shared.core import money
from shared.core.context import Ctx
from shared.core.db import now
from shared.core.errors import DomainError
from shared.tenancy import entry, exports, roles
from shared.web import forms, public_pages, request_identity

FORMULA_PREFIXES = (
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
)  # first characters of a spreadsheet formula
CELL_SEPARATORS = re.compile(r"(?<=[;\t\r\n])")  # of other locales than the one of the comma, and lines
BYTE_ORDER_MARK = "\ufeff"  # without it Excel does not read UTF-8
MEMBER_COLUMNS = ("Name", "Email", "Role", "Status", "Last active", "Joined")
EVENT_COLUMNS = (
    *(
        "Number",
        "Time",
        "Actor",
        "Actor type",
        "Action",
        "Object",
        "Reason",
        "Before",
        "After",
        "Details",
        "Request",
    ),
)
INVOICE_COLUMNS = (
    *("Number", "Date", "Status", "From", "To", "Currency", "Subtotal", "Discount", "Tax"),
    *("Tax included in prices", "Total", "Paid", "Due", "Credited"),
)
TRUNCATED_TEXT = (
    f"Only the first {exports.MAX_ROWS:,} rows are in this file. Narrow the filter to export the rest."
)
INCOMPLETE_TEXT = "This file is incomplete."
ExportChunk = tuple[Sequence[Sequence[str]], str]  # rows, and the cursor of the next chunk


async def export_members(request: Request) -> Response:
    slug = request.path_params["slug"]

    async def step(typed: dict[str, str], ctx: Ctx, after: str) -> ExportChunk:
        role = typed.get("role", "")
        if not after:
            await exports.start_member_export(ctx, typed.get("query", ""), role)
        page = await exports.list_member_batch(
            ctx,
            query=typed.get("query", ""),
            role=role,
            sort=typed.get("sort", "") or "name",
            descending=typed.get("descending", "") == "yes",
            after=after,
        )
        names = {listed_role.key: listed_role.name for listed_role in await roles.list_roles(ctx)}
        return [_member_row(member, names) for member in page.rows], page.next_cursor

    return await _stream_csv(request, f"/t/{slug}/members", "members", MEMBER_COLUMNS, step)


async def export_audit_log(request: Request) -> Response:
    slug = request.path_params["slug"]

    async def step(typed: dict[str, str], ctx: Ctx, after: str) -> ExportChunk:
        if not after:
            await exports.start_event_export(ctx, typed)
        event_page = await exports.list_event_batch(ctx, filters.parse_filter(typed), after=after)
        return [_event_row(numbered) for numbered in event_page.rows], event_page.next_cursor

    return await _stream_csv(request, f"/t/{slug}/audit", "audit", EVENT_COLUMNS, step)


async def export_invoices(request: Request) -> Response:
    slug = request.path_params["slug"]

    async def step(_: dict[str, str], ctx: Ctx, after: str) -> ExportChunk:
        if not after:
            await invoices.start_export(ctx)
        page = await invoices.list_export_batch(ctx, after=after)
        return [_invoice_row(invoice) for invoice in page.rows], page.next_cursor

    return await _stream_csv(request, f"/t/{slug}/billing", "invoices", INVOICE_COLUMNS, step)


async def _stream_csv(
    request: Request, back: str, name: str, columns: Sequence[str], read_chunk: Any
) -> Response:
    """Read the first chunk before responding, so that a refusal gets its own status and page."""
    try:
        typed = await forms.read(request)
        async with _enter_tenant(request) as ctx:
            rows, next_cursor = await read_chunk(typed, ctx, "")
    except DomainError as problem:
        if not public_pages.wants_html(request.scope) or problem.reason in ("not_found", "not_signed_in"):
            raise
        return public_pages.render_refusal_page(request.scope, problem, {}, back)

    async def lines() -> AsyncIterator[str]:
        yield BYTE_ORDER_MARK + to_csv([columns, *rows])
        count, after = len(rows), next_cursor
        while after and count < exports.MAX_ROWS:
            try:
                async with _enter_tenant(request) as ctx:
                    more, after = await read_chunk(typed, ctx, after)
            except DomainError as refusal:  # the headers are sent, so the last line reports it
                yield to_csv([[f"{INCOMPLETE_TEXT} {refusal.detail}"]])
                return
            count += len(more)
            yield to_csv(more)
        if after:
            yield to_csv([[TRUNCATED_TEXT]])

    headers = {
        "cache-control": "no-store",
        "content-disposition": f'attachment; filename="{ctx.slug}-{name}-{now():%Y-%m-%d}.csv"',
    }
    return StreamingResponse(lines(), media_type="text/csv; charset=utf-8", headers=headers)


def _enter_tenant(request: Request) -> AbstractAsyncContextManager[Ctx]:
    return entry.enter_tenant(request_identity.get_cookie_header(request), request.path_params["slug"])


def to_csv(rows: Iterable[Sequence[str]]) -> str:
    """Every cell is quoted, whatever a spreadsheet takes for a separator."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\r\n", quoting=csv.QUOTE_ALL)
    writer.writerows([escape_cell(text) for text in row] for row in rows)
    return out.getvalue()


def escape_cell(text: str) -> str:
    """Prefix formulas with an apostrophe, so that a spreadsheet shows them as text (CSV injection).

    Also behind a separator inside the cell: where the list separator is a semicolon, the quotes of the second and later
    cells of a line protect nothing.
    """
    return "".join(f"'{part}" if _is_formula(part) else part for part in CELL_SEPARATORS.split(text))


def _is_formula(text: str) -> bool:
    """Also behind quotes, blanks and invisible characters, which spreadsheets skip."""
    for character in text:
        if character in FORMULA_PREFIXES:
            return True
        if not (character in '"' or character.isspace() or unicodedata.category(character) in ("Cf", "Cc")):
            return False
    return False


def _member_row(member: Any, names: dict[str, str]) -> list[str]:
    status = "Active" if member.state == "active" else "Deactivated"
    return [
        member.name,
        member.email,
        names.get(member.role, ""),
        status,
        _format_time(member.seen_at),
        _format_time(member.created_at),
    ]


def _event_row(numbered: NumberedEvent) -> list[str]:
    event = numbered.event
    return [
        str(numbered.number or ""),
        _format_time(event.at),
        event.actor_name,
        event.actor_type,
        event.action,
        event.object_id,
        event.reason,
        *(
            json.dumps(part, ensure_ascii=False) if part else ""
            for part in (event.before, event.after, event.details)
        ),
        event.request_id,
    ]


def _invoice_row(invoice: BillingInvoice) -> list[str]:
    """Amounts in whole units of the currency. An invoice that was synced before its parts were kept has the total only."""
    amounts = (invoice.total, invoice.paid, invoice.due, invoice.credited)
    parts: tuple[int, ...] = ()
    if invoice.subtotal is not None:
        parts = (invoice.subtotal, invoice.discount, invoice.tax, invoice.included_tax)
    return [
        invoice.number,
        _format_time(invoice.created_at),
        invoice.status,
        _format_time(invoice.period_starts_at),
        _format_time(invoice.period_ends_at),
        invoice.currency.upper(),
        *([money.format_plain(amount, invoice.currency) for amount in parts] or [""] * 4),
        *(money.format_plain(amount, invoice.currency) for amount in amounts),
    ]


def _format_time(at: datetime | None) -> str:
    """UTC, in a format that spreadsheets and programs parse."""
    return f"{at:%Y-%m-%d %H:%M:%S}Z" if at else ""


ROUTES = [
    Route("/t/{slug}/audit.csv", export_audit_log, methods=["POST"]),
    Route("/t/{slug}/invoices.csv", export_invoices, methods=["POST"]),
    Route("/t/{slug}/members.csv", export_members, methods=["POST"]),
]
