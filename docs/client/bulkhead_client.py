"""Typed client of the Bulkhead API. Written by `bulkhead docs client` from the OpenAPI document; a test compares.

Copy this file. It needs Python 3.11 and httpx. Every method raises ApiError for a refusal, and httpx.HTTPError without
an answer. Requests are sent again after 429 and 503, each under one idempotency key, so that they have one effect.
"""

from __future__ import annotations

import time
import uuid
from types import TracebackType
from typing import Any, Literal, NotRequired, Self, TypedDict
from urllib.parse import quote

import httpx

API_VERSION = "2026-11-30"
RETRIED_STATUSES = (429, 503)
MAX_WAIT_SECONDS = 60.0  # that one answer may ask for


class ApiError(Exception):
    """A refusal. `problem`: with the stable `reason`, what happened and what to do next."""

    def __init__(self, problem: Problem) -> None:
        self.problem = problem
        super().__init__(f"{problem['reason']}: {problem['detail']} {problem['next_step']}")


Aggregation = Literal["sum", "max", "last", "unique"]


CorrectionState = Literal["open", "closing", "closed", "reverting", "reverted"]


DeliveryStatus = Literal["waiting", "pending", "delivered", "failed"]


EndpointState = Literal["active", "paused"]


EventOrder = Literal["none", "object", "tenant"]


ExportFormat = Literal["csv", "jsonl", "parquet"]


ExportState = Literal["waiting", "running", "ready", "failed", "cancelled"]


FileType = Literal[
    "image/jpeg", "application/pdf", "image/png", "text/plain; charset=utf-8", "image/webp", "application/zip"
]


ItemReason = Literal[
    "invalid",
    "unknown_meter",
    "too_old",
    "in_the_future",
    "limit_reached",
    "unknown_event",
    "already_voided",
    "key_used",
]


ItemStatus = Literal["accepted", "repeated", "rejected"]


LastResult = Literal["", "delivered", "failed"]


PauseReason = Literal["", "member", "failures", "gone"]


Step = Literal["hour", "day", "month"]


class ActionNeeds(TypedDict):
    name: str
    description: str
    scope: str
    writes: bool
    feature: str
    limit: str
    flag: str


class ActionNeedsPage(TypedDict):
    items: list[ActionNeeds]
    next: str | None


class Attempt(TypedDict):
    number: int
    at: str
    duration_ms: int
    request_headers: dict[str, str]
    response_status: int
    response_body: str
    problem: str


class AuditEvent(TypedDict):
    id: str
    at: str
    actor_type: str
    actor_id: str
    actor_name: str
    impersonator_id: str
    action: str
    object_id: str
    reason: str
    before: dict[str, Any]
    after: dict[str, Any]
    details: dict[str, Any]
    request_id: str


class AuditEventPage(TypedDict):
    items: list[AuditEvent]
    next: str | None


class BilledEffectOutput(TypedDict):
    meter: str
    quantity: str
    units: int
    carried: str


class Branding(TypedDict):
    colour: str
    logo_digest: str
    version: int


class BrandingChange(TypedDict):
    colour: str


class BreakdownPart(TypedDict):
    value: str
    quantity: str
    event_count: int


class CorrectionInput(TypedDict):
    note: str


class CorrectionItemsInput(TypedDict):
    items: list[dict[str, Any]]


class CorrectionOutput(TypedDict):
    id: str
    state: CorrectionState
    note: str
    problem: str
    item_count: int
    created_at: str
    closed_at: str | None
    reverted_at: str | None


class CorrectionOutputPage(TypedDict):
    items: list[CorrectionOutput]
    next: str | None


class DecisionAnswer(TypedDict):
    action: str
    at: str
    allowed: bool
    reason: str
    detail: str
    next_step: str
    trace: list[TraceLayer] | None


class DecisionQuestion(TypedDict):
    action: str
    at: NotRequired[str | None]


class Delivery(TypedDict):
    id: str
    event_id: str
    event_type: str
    is_test: bool
    status: DeliveryStatus
    attempts: int
    due_at: str
    created_at: str
    done_at: str | None
    last_status: int
    last_problem: str


class DeliveryLog(TypedDict):
    id: str
    event_id: str
    event_type: str
    is_test: bool
    status: DeliveryStatus
    attempts: int
    due_at: str
    created_at: str
    done_at: str | None
    last_status: int
    last_problem: str
    webhook_id: str
    body: str
    log: list[Attempt]


class DeliveryPage(TypedDict):
    items: list[Delivery]
    next: str | None


class Difference(TypedDict):
    label: str
    current: str
    submitted: str


class EffectOutput(TypedDict):
    windows: list[WindowEffectOutput]
    billed: list[BilledEffectOutput]


class Entitlements(TypedDict):
    plan: str
    billing_status: str
    trial_ends_at: str | None
    features: list[Feature]
    limits: list[UsageLimit]
    scheduled_changes: list[ScheduledChange]


class Export(TypedDict):
    id: str
    kind: str
    format: ExportFormat
    state: ExportState
    row_count: int
    expected_rows: int
    percent: int
    problem: str
    decision_id: str | None
    created_at: str
    finished_at: str | None
    file_id: str | None
    expires_at: str | None


class ExportInput(TypedDict):
    kind: str
    format: NotRequired[str]
    filter: NotRequired[dict[str, Any]]


class FailedReplay(TypedDict):
    since: str


class Feature(TypedDict):
    key: str
    title: str
    included: bool
    explanation: str
    source_id: str


class File(TypedDict):
    id: str
    name: str
    content_type: FileType
    size: int
    sha256: str
    created_by_name: str
    created_at: str


class FilePage(TypedDict):
    items: list[File]
    next: str | None


class Invitation(TypedDict):
    id: str
    email: str
    role: str
    invited_by_name: str
    created_at: str
    expires_at: str
    delivery_problem: str


class InvitationCreation(TypedDict):
    email: str
    role: str


class InvitationPage(TypedDict):
    items: list[Invitation]
    next: str | None


class Issuer(TypedDict):
    id: str
    name: str
    issuer: str
    audience: str
    jwks_url: str
    algorithms: list[str]
    tenant_claim: str
    role: str
    role_claim: str
    role_map: list[RoleOfValueOutput]
    enabled: bool
    created_by_name: str
    created_at: str
    version: int


class IssuerInput(TypedDict):
    name: str
    issuer: str
    audience: str
    jwks_url: str
    algorithms: list[str]
    tenant_claim: str
    role: str
    role_claim: NotRequired[str]
    role_map: NotRequired[list[RoleOfValue]]
    enabled: NotRequired[bool]


class IssuerPage(TypedDict):
    items: list[Issuer]
    next: str | None


class Key(TypedDict):
    id: str
    name: str
    hint: str
    scopes: list[str]
    state: Literal["active", "expired", "revoked"]
    holder_type: Literal["user", "service_account"]
    holder_id: str
    holder_name: str
    networks: list[str]
    origins: list[str]
    created_by_name: str
    created_at: str
    expires_at: str | None
    last_used_at: str | None
    last_used_address: str
    previous_hint: str
    previous_ends_at: str | None
    revoked_at: str | None
    revoked_by: str
    version: int


class KeyCreation(TypedDict):
    name: str
    scopes: list[str]
    networks: NotRequired[list[str]]
    origins: NotRequired[list[str]]
    expires_at: NotRequired[str | None]
    service_account_id: NotRequired[str | None]
    mode: NotRequired[Literal["live", "test"] | None]


class KeyInput(TypedDict):
    name: str
    scopes: list[str]
    networks: NotRequired[list[str]]
    origins: NotRequired[list[str]]


class KeyPage(TypedDict):
    items: list[Key]
    next: str | None


class Link(TypedDict):
    url: str
    expires_at: str


class Me(TypedDict):
    key_id: str
    key_name: str
    holder_id: str
    role: str
    scopes: list[str]
    permissions: list[str]
    organisation: Organisation


class Member(TypedDict):
    id: str
    user_id: str
    name: str
    email: str
    role: str
    state: str
    created_at: str
    seen_at: str | None
    version: int


class MemberChange(TypedDict):
    role: str


class MemberPage(TypedDict):
    items: list[Member]
    next: str | None


class MeterTotals(TypedDict):
    meter: str
    title: str
    unit: str
    aggregation: Aggregation
    total: str
    this_month: str
    forecast: str | None
    monthly_limit: int | None
    points: list[UsagePoint]


class NewKey(TypedDict):
    id: str
    name: str
    hint: str
    scopes: list[str]
    state: Literal["active", "expired", "revoked"]
    holder_type: Literal["user", "service_account"]
    holder_id: str
    holder_name: str
    networks: list[str]
    origins: list[str]
    created_by_name: str
    created_at: str
    expires_at: str | None
    last_used_at: str | None
    last_used_address: str
    previous_hint: str
    previous_ends_at: str | None
    revoked_at: str | None
    revoked_by: str
    version: int
    secret: str | None


class NewSecret(TypedDict):
    id: str
    url: str
    description: str
    event_types: list[str]
    api_version: str
    state: EndpointState
    pause_reason: PauseReason
    paused_at: str | None
    previous_secret_ends_at: str | None
    failure_count: int
    failing_since: str | None
    last_attempt_at: str | None
    last_result: LastResult
    last_status: int
    created_at: str
    created_by: str
    version: int
    secret: str | None


class Notification(TypedDict):
    id: str
    kind: str
    title: str
    body: str
    created_at: str
    read_at: str | None


class NotificationPage(TypedDict):
    items: list[Notification]
    next: str | None


class Organisation(TypedDict):
    id: str
    slug: str
    name: str
    plan: str
    billing_status: str


class Problem(TypedDict):
    type: str
    title: str
    status: int
    reason: str
    detail: str
    next_step: str
    request_id: str
    decision_id: NotRequired[str | None]
    fields: NotRequired[dict[str, str] | None]
    version: NotRequired[int | None]
    differences: NotRequired[list[Difference] | None]
    versions: NotRequired[list[str] | None]


class RecordedDecision(TypedDict):
    id: str
    at: str
    surface: Literal["page", "rest", "job", "scim", "cli"]
    actor_type: str
    actor_id: str
    holder_id: str
    action: str
    allowed: bool
    layer: str
    reason: str
    plan_version: str
    billing_status: str
    request_id: str
    trace: list[TraceLayer] | None


class ReplayCount(TypedDict):
    count: int


class Role(TypedDict):
    id: str
    name: str
    description: str
    permissions: list[str]
    built_in: bool
    version: int


class RoleInput(TypedDict):
    name: str
    description: NotRequired[str]
    permissions: list[str]


class RoleOfValue(TypedDict):
    value: str
    role: str


class RoleOfValueOutput(TypedDict):
    value: str
    role: str


class RoleWithUsage(TypedDict):
    id: str
    name: str
    description: str
    permissions: list[str]
    built_in: bool
    version: int
    members: int
    pending_invitations: int
    service_accounts: int


class RoleWithUsagePage(TypedDict):
    items: list[RoleWithUsage]
    next: str | None


class Rotation(TypedDict):
    overlap_hours: NotRequired[int]


class ScheduledChange(TypedDict):
    at: str
    title: str
    before: str
    after: str


class SecretRotation(TypedDict):
    overlap_hours: NotRequired[int]


class ServiceAccount(TypedDict):
    id: str
    name: str
    role: str
    created_by_name: str
    created_at: str
    version: int


class ServiceAccountInput(TypedDict):
    name: str
    role: str


class ServiceAccountPage(TypedDict):
    items: list[ServiceAccount]
    next: str | None


class Settings(TypedDict):
    name: str
    slug: str
    version: int


class SettingsChange(TypedDict):
    name: str


class TestDelivery(TypedDict):
    delivery_id: str


class TestMode(TypedDict):
    is_on: bool
    tenant_id: str
    slug: str


class TraceLayer(TypedDict):
    layer: str
    question: str
    verdict: Literal["yes", "no", "warn", "idle", "overruled"]
    explanation: str
    source_id: str
    decides: bool


class UsageAnswer(TypedDict):
    accepted: int
    repeated: int
    rejected: int
    items: list[UsageItemResult]
    warnings: list[str]


class UsageBreakdown(TypedDict):
    meter: str
    by: str
    parts: list[BreakdownPart]
    other_values: int
    other_quantity: str | None


class UsageChangeOutput(TypedDict):
    id: str
    meter: str
    size: str
    starts_at: str
    cause: str
    quantity_before: str
    quantity_after: str
    event_count: int
    event_ids: list[str]
    correction_id: str | None
    created_at: str


class UsageChangeOutputPage(TypedDict):
    items: list[UsageChangeOutput]
    next: str | None


class UsageEventOutput(TypedDict):
    meter: str
    idempotency_key: str
    quantity: str
    subject: str
    dimensions: dict[str, str]
    occurred_at: str
    recorded_at: str
    batch_id: str
    recorded_by: str
    voided_by: str | None


class UsageEventOutputPage(TypedDict):
    items: list[UsageEventOutput]
    next: str | None


class UsageInput(TypedDict):
    items: list[dict[str, Any]]


class UsageItemResult(TypedDict):
    index: int
    status: ItemStatus
    reason: ItemReason | None
    field: str
    detail: str
    limit: UsageLimitOutput | None


class UsageLimit(TypedDict):
    key: str
    title: str
    amount: int | None
    hard: bool
    used: int | None
    explanation: str
    source_id: str


class UsageLimitOutput(TypedDict):
    meter: str
    used: str
    allowed: str
    resets_at: str


class UsagePoint(TypedDict):
    starts_at: str
    quantity: str


class UsageTotals(TypedDict):
    as_of: str
    since: str
    until: str
    step: Step
    meters: list[MeterTotals]


class Webhook(TypedDict):
    id: str
    url: str
    description: str
    event_types: list[str]
    api_version: str
    state: EndpointState
    pause_reason: PauseReason
    paused_at: str | None
    previous_secret_ends_at: str | None
    failure_count: int
    failing_since: str | None
    last_attempt_at: str | None
    last_result: LastResult
    last_status: int
    created_at: str
    created_by: str
    version: int


class WebhookEvent(TypedDict):
    name: str
    title: str
    permission: str
    order: EventOrder
    readable: bool


class WebhookEventPage(TypedDict):
    items: list[WebhookEvent]
    next: str | None


class WebhookInput(TypedDict):
    url: str
    description: NotRequired[str]
    event_types: list[str]


class WebhookPage(TypedDict):
    items: list[Webhook]
    next: str | None


class WindowEffectOutput(TypedDict):
    meter: str
    size: str
    starts_at: str
    quantity_before: str
    quantity_after: str
    is_closed: bool


class Bulkhead:
    """`key`: as in bk_live_…. `base_url`: of your organisation's app. `max_attempts`: of one request."""

    def __init__(self, key: str, *, base_url: str, timeout: float = 30.0, max_attempts: int = 3) -> None:
        headers = {"authorization": f"Bearer {key}", "bulkhead-version": API_VERSION}
        self._http = httpx.Client(base_url=base_url, headers=headers, timeout=timeout)
        self._max_attempts = max_attempts

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, problem: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._http.close()

    def _send(
        self,
        method: str,
        path: str,
        *,
        query: dict[str, Any] | None = None,
        body: object = None,
        content: bytes | None = None,
        version: int | None = None,
    ) -> Any:
        headers = {} if method == "GET" else {"idempotency-key": str(uuid.uuid4())}
        if version is not None:
            headers["if-match"] = f'"{version}"'
        parameters = {name: value for name, value in (query or {}).items() if value is not None}
        for attempt in range(self._max_attempts):
            answer = self._http.request(
                method, path, params=parameters, json=body, content=content, headers=headers
            )
            is_last = attempt == self._max_attempts - 1
            if answer.status_code not in RETRIED_STATUSES or is_last:
                break
            time.sleep(min(float(answer.headers.get("retry-after", 1)), MAX_WAIT_SECONDS))
        if answer.is_error:
            raise ApiError(answer.json())
        return answer.json() if answer.content else None

    def list_keys(
        self,
        *,
        after: str | None = None,
        limit: int | None = None,
    ) -> KeyPage:
        """List API keys. Needs the scope `api_key:read`."""
        answer: KeyPage = self._send(
            "GET",
            "/api/v1/api-keys",
            query={
                "after": after,
                "limit": limit,
            },
        )
        return answer

    def create_key(
        self,
        body: KeyCreation,
    ) -> NewKey:
        """Create an API key. Needs the scope `api_key:write`."""
        answer: NewKey = self._send(
            "POST",
            "/api/v1/api-keys",
            body=body,
        )
        return answer

    def get_key(
        self,
        key_id: str,
    ) -> Key:
        """Read an API key. Needs the scope `api_key:read`."""
        answer: Key = self._send(
            "GET",
            f"/api/v1/api-keys/{quote(key_id, safe='')}",
        )
        return answer

    def change_key(
        self,
        key_id: str,
        body: KeyInput,
        *,
        version: int,
    ) -> Key:
        """Change what an API key may do. Needs the scope `api_key:write`."""
        answer: Key = self._send(
            "PUT",
            f"/api/v1/api-keys/{quote(key_id, safe='')}",
            body=body,
            version=version,
        )
        return answer

    def revoke_key(
        self,
        key_id: str,
    ) -> None:
        """Revoke an API key. Needs the scope `api_key:write`."""
        self._send(
            "DELETE",
            f"/api/v1/api-keys/{quote(key_id, safe='')}",
        )

    def rotate_key(
        self,
        key_id: str,
        body: Rotation,
    ) -> NewKey:
        """Replace the secret of an API key. Needs the scope `api_key:write`."""
        answer: NewKey = self._send(
            "POST",
            f"/api/v1/api-keys/{quote(key_id, safe='')}/rotate",
            body=body,
        )
        return answer

    def list_issuers(
        self,
        *,
        after: str | None = None,
        limit: int | None = None,
    ) -> IssuerPage:
        """List token issuers. Needs the scope `jwt_issuer:read`."""
        answer: IssuerPage = self._send(
            "GET",
            "/api/v1/jwt-issuers",
            query={
                "after": after,
                "limit": limit,
            },
        )
        return answer

    def create_issuer(
        self,
        body: IssuerInput,
    ) -> Issuer:
        """Add a token issuer. Needs the scope `jwt_issuer:write`."""
        answer: Issuer = self._send(
            "POST",
            "/api/v1/jwt-issuers",
            body=body,
        )
        return answer

    def get_issuer(
        self,
        jwt_issuer_id: str,
    ) -> Issuer:
        """Read a token issuer. Needs the scope `jwt_issuer:read`."""
        answer: Issuer = self._send(
            "GET",
            f"/api/v1/jwt-issuers/{quote(jwt_issuer_id, safe='')}",
        )
        return answer

    def change_issuer(
        self,
        jwt_issuer_id: str,
        body: IssuerInput,
        *,
        version: int,
    ) -> Issuer:
        """Change a token issuer. Needs the scope `jwt_issuer:write`."""
        answer: Issuer = self._send(
            "PUT",
            f"/api/v1/jwt-issuers/{quote(jwt_issuer_id, safe='')}",
            body=body,
            version=version,
        )
        return answer

    def delete_issuer(
        self,
        jwt_issuer_id: str,
    ) -> None:
        """Remove a token issuer. Needs the scope `jwt_issuer:write`."""
        self._send(
            "DELETE",
            f"/api/v1/jwt-issuers/{quote(jwt_issuer_id, safe='')}",
        )

    def create_export(
        self,
        body: ExportInput,
    ) -> Export:
        """Start an export. Needs the scope `home:read`."""
        answer: Export = self._send(
            "POST",
            "/api/v1/exports",
            body=body,
        )
        return answer

    def get_export(
        self,
        export_id: str,
    ) -> Export:
        """Read how far an export is. Needs the scope `home:read`."""
        answer: Export = self._send(
            "GET",
            f"/api/v1/exports/{quote(export_id, safe='')}",
        )
        return answer

    def cancel_export(
        self,
        export_id: str,
    ) -> Export:
        """Cancel an export. Needs the scope `home:read`."""
        answer: Export = self._send(
            "DELETE",
            f"/api/v1/exports/{quote(export_id, safe='')}",
        )
        return answer

    def upload_file(
        self,
        content: bytes,
        *,
        name: str,
    ) -> File:
        """Upload a file. Needs the scope `file:write`."""
        answer: File = self._send(
            "POST",
            "/api/v1/files",
            query={
                "name": name,
            },
            content=content,
        )
        return answer

    def list_files(
        self,
        *,
        after: str | None = None,
        limit: int | None = None,
    ) -> FilePage:
        """List uploaded files. Needs the scope `file:read`."""
        answer: FilePage = self._send(
            "GET",
            "/api/v1/files",
            query={
                "after": after,
                "limit": limit,
            },
        )
        return answer

    def get_file(
        self,
        file_id: str,
    ) -> File:
        """Read the details of an uploaded file. Needs the scope `file:read`."""
        answer: File = self._send(
            "GET",
            f"/api/v1/files/{quote(file_id, safe='')}",
        )
        return answer

    def delete_file(
        self,
        file_id: str,
    ) -> None:
        """Delete an uploaded file. Needs the scope `file:write`."""
        self._send(
            "DELETE",
            f"/api/v1/files/{quote(file_id, safe='')}",
        )

    def create_file_link(
        self,
        file_id: str,
    ) -> Link:
        """Make a link to download a file. Needs the scope `home:read`."""
        answer: Link = self._send(
            "GET",
            f"/api/v1/files/{quote(file_id, safe='')}/link",
        )
        return answer

    def send_usage(
        self,
        body: UsageInput,
    ) -> UsageAnswer:
        """Send usage events; each item has a result of its own. Needs the scope `usage:write`."""
        answer: UsageAnswer = self._send(
            "POST",
            "/api/v1/usage",
            body=body,
        )
        return answer

    def get_usage(
        self,
        *,
        since: str,
        until: str,
        step: Step | None = None,
        meter: str | None = None,
    ) -> UsageTotals:
        """Read usage by meter over time. Needs the scope `usage:read`."""
        answer: UsageTotals = self._send(
            "GET",
            "/api/v1/usage",
            query={
                "since": since,
                "until": until,
                "step": step,
                "meter": meter,
            },
        )
        return answer

    def get_usage_breakdown(
        self,
        *,
        meter: str,
        by: str,
        since: str,
        until: str,
    ) -> UsageBreakdown:
        """Read the usage of a meter by a dimension or by sender, the largest first. Needs the scope `usage:read`."""
        answer: UsageBreakdown = self._send(
            "GET",
            "/api/v1/usage/breakdown",
            query={
                "meter": meter,
                "by": by,
                "since": since,
                "until": until,
            },
        )
        return answer

    def list_usage_events(
        self,
        *,
        meter: str,
        since: str,
        until: str,
        after: str | None = None,
        limit: int | None = None,
    ) -> UsageEventOutputPage:
        """List the events of a meter, newest first. Needs the scope `usage:read`."""
        answer: UsageEventOutputPage = self._send(
            "GET",
            "/api/v1/usage/events",
            query={
                "meter": meter,
                "since": since,
                "until": until,
                "after": after,
                "limit": limit,
            },
        )
        return answer

    def list_usage_changes(
        self,
        *,
        after: str | None = None,
        limit: int | None = None,
    ) -> UsageChangeOutputPage:
        """List closed hours and months whose usage changed, newest first. Needs the scope `usage:read`."""
        answer: UsageChangeOutputPage = self._send(
            "GET",
            "/api/v1/usage/changes",
            query={
                "after": after,
                "limit": limit,
            },
        )
        return answer

    def open_usage_correction(
        self,
        body: CorrectionInput,
    ) -> CorrectionOutput:
        """Open a correction of usage; it counts nothing until it is closed. Needs the scope `usage:correct`."""
        answer: CorrectionOutput = self._send(
            "POST",
            "/api/v1/usage/corrections",
            body=body,
        )
        return answer

    def list_usage_corrections(
        self,
        *,
        after: str | None = None,
        limit: int | None = None,
    ) -> CorrectionOutputPage:
        """List corrections of usage, newest first. Needs the scope `usage:read`."""
        answer: CorrectionOutputPage = self._send(
            "GET",
            "/api/v1/usage/corrections",
            query={
                "after": after,
                "limit": limit,
            },
        )
        return answer

    def get_usage_correction(
        self,
        correction_id: str,
    ) -> CorrectionOutput:
        """Read a correction of usage. Needs the scope `usage:read`."""
        answer: CorrectionOutput = self._send(
            "GET",
            f"/api/v1/usage/corrections/{quote(correction_id, safe='')}",
        )
        return answer

    def add_usage_correction_items(
        self,
        correction_id: str,
        body: CorrectionItemsInput,
    ) -> UsageAnswer:
        """Add events, replacements and voids; each item has a result of its own. Needs the scope `usage:correct`."""
        answer: UsageAnswer = self._send(
            "POST",
            f"/api/v1/usage/corrections/{quote(correction_id, safe='')}/items",
            body=body,
        )
        return answer

    def preview_usage_correction(
        self,
        correction_id: str,
    ) -> EffectOutput:
        """Preview what closing it would change, and what would be billed. Needs the scope `usage:read`."""
        answer: EffectOutput = self._send(
            "GET",
            f"/api/v1/usage/corrections/{quote(correction_id, safe='')}/effect",
        )
        return answer

    def close_usage_correction(
        self,
        correction_id: str,
    ) -> CorrectionOutput:
        """Close a correction: from then on it counts. Needs the scope `usage:correct`."""
        answer: CorrectionOutput = self._send(
            "POST",
            f"/api/v1/usage/corrections/{quote(correction_id, safe='')}/close",
        )
        return answer

    def revert_usage_correction(
        self,
        correction_id: str,
    ) -> CorrectionOutput:
        """Give up an open correction, or revert a closed one. Needs the scope `usage:correct`."""
        answer: CorrectionOutput = self._send(
            "POST",
            f"/api/v1/usage/corrections/{quote(correction_id, safe='')}/revert",
        )
        return answer

    def list_webhooks(
        self,
    ) -> WebhookPage:
        """List webhooks, on one page. Needs the scope `webhook:read`."""
        answer: WebhookPage = self._send(
            "GET",
            "/api/v1/webhooks",
        )
        return answer

    def create_webhook(
        self,
        body: WebhookInput,
    ) -> NewSecret:
        """Add a webhook. Needs the scope `webhook:write`."""
        answer: NewSecret = self._send(
            "POST",
            "/api/v1/webhooks",
            body=body,
        )
        return answer

    def list_webhook_events(
        self,
    ) -> WebhookEventPage:
        """List the events that webhooks can get, on one page. Needs the scope `webhook:read`."""
        answer: WebhookEventPage = self._send(
            "GET",
            "/api/v1/webhook-events",
        )
        return answer

    def get_webhook(
        self,
        webhook_id: str,
    ) -> Webhook:
        """Read a webhook. Needs the scope `webhook:read`."""
        answer: Webhook = self._send(
            "GET",
            f"/api/v1/webhooks/{quote(webhook_id, safe='')}",
        )
        return answer

    def change_webhook(
        self,
        webhook_id: str,
        body: WebhookInput,
        *,
        version: int,
    ) -> Webhook:
        """Change where a webhook sends which events. Needs the scope `webhook:write`."""
        answer: Webhook = self._send(
            "PUT",
            f"/api/v1/webhooks/{quote(webhook_id, safe='')}",
            body=body,
            version=version,
        )
        return answer

    def delete_webhook(
        self,
        webhook_id: str,
    ) -> None:
        """Delete a webhook. Needs the scope `webhook:write`."""
        self._send(
            "DELETE",
            f"/api/v1/webhooks/{quote(webhook_id, safe='')}",
        )

    def rotate_webhook_secret(
        self,
        webhook_id: str,
        body: SecretRotation,
    ) -> NewSecret:
        """Replace the secret of a webhook. Needs the scope `webhook:write`."""
        answer: NewSecret = self._send(
            "POST",
            f"/api/v1/webhooks/{quote(webhook_id, safe='')}/rotate-secret",
            body=body,
        )
        return answer

    def pause_webhook(
        self,
        webhook_id: str,
    ) -> Webhook:
        """Pause a webhook; its events wait. Needs the scope `webhook:write`."""
        answer: Webhook = self._send(
            "POST",
            f"/api/v1/webhooks/{quote(webhook_id, safe='')}/pause",
        )
        return answer

    def resume_webhook(
        self,
        webhook_id: str,
    ) -> Webhook:
        """Resume a webhook, and send what has waited. Needs the scope `webhook:write`."""
        answer: Webhook = self._send(
            "POST",
            f"/api/v1/webhooks/{quote(webhook_id, safe='')}/resume",
        )
        return answer

    def send_webhook_test(
        self,
        webhook_id: str,
    ) -> TestDelivery:
        """Send a test event. Needs the scope `webhook:write`."""
        answer: TestDelivery = self._send(
            "POST",
            f"/api/v1/webhooks/{quote(webhook_id, safe='')}/test",
        )
        return answer

    def list_webhook_deliveries(
        self,
        webhook_id: str,
        *,
        status: DeliveryStatus | None = None,
        after: str | None = None,
        limit: int | None = None,
    ) -> DeliveryPage:
        """List the deliveries of a webhook, newest first. Needs the scope `webhook:read`."""
        answer: DeliveryPage = self._send(
            "GET",
            f"/api/v1/webhooks/{quote(webhook_id, safe='')}/deliveries",
            query={
                "status": status,
                "after": after,
                "limit": limit,
            },
        )
        return answer

    def replay_failed_deliveries(
        self,
        webhook_id: str,
        body: FailedReplay,
    ) -> ReplayCount:
        """Send deliveries that were given up again. Needs the scope `webhook:write`."""
        answer: ReplayCount = self._send(
            "POST",
            f"/api/v1/webhooks/{quote(webhook_id, safe='')}/replay-failed",
            body=body,
        )
        return answer

    def get_webhook_delivery(
        self,
        delivery_id: str,
    ) -> DeliveryLog:
        """Read a delivery with its request and the answers. Needs the scope `webhook:read`."""
        answer: DeliveryLog = self._send(
            "GET",
            f"/api/v1/webhook-deliveries/{quote(delivery_id, safe='')}",
        )
        return answer

    def replay_webhook_delivery(
        self,
        delivery_id: str,
    ) -> None:
        """Send an ended delivery again, with the same event id. Needs the scope `webhook:write`."""
        self._send(
            "POST",
            f"/api/v1/webhook-deliveries/{quote(delivery_id, safe='')}/replay",
        )

    def get_me(
        self,
    ) -> Me:
        """Read what this key is and what it may do. Any key may ask."""
        answer: Me = self._send(
            "GET",
            "/api/v1/me",
        )
        return answer

    def list_members(
        self,
        *,
        query: str | None = None,
        role: str | None = None,
        sort: Literal["name", "role", "seen_at", "created_at"] | None = None,
        descending: bool | None = None,
        after: str | None = None,
        limit: int | None = None,
    ) -> MemberPage:
        """List members. Needs the scope `member:read`."""
        answer: MemberPage = self._send(
            "GET",
            "/api/v1/members",
            query={
                "query": query,
                "role": role,
                "sort": sort,
                "descending": descending,
                "after": after,
                "limit": limit,
            },
        )
        return answer

    def get_member(
        self,
        member_id: str,
    ) -> Member:
        """Read a member. Needs the scope `member:read`."""
        answer: Member = self._send(
            "GET",
            f"/api/v1/members/{quote(member_id, safe='')}",
        )
        return answer

    def change_member(
        self,
        member_id: str,
        body: MemberChange,
        *,
        version: int,
    ) -> Member:
        """Change a member’s role. Needs the scope `member:write`."""
        answer: Member = self._send(
            "PATCH",
            f"/api/v1/members/{quote(member_id, safe='')}",
            body=body,
            version=version,
        )
        return answer

    def remove_member(
        self,
        member_id: str,
    ) -> None:
        """Remove a member. Needs the scope `member:write`."""
        self._send(
            "DELETE",
            f"/api/v1/members/{quote(member_id, safe='')}",
        )

    def deactivate_member(
        self,
        member_id: str,
    ) -> Member:
        """End a member’s access for a while. Needs the scope `member:write`."""
        answer: Member = self._send(
            "POST",
            f"/api/v1/members/{quote(member_id, safe='')}/deactivate",
        )
        return answer

    def reactivate_member(
        self,
        member_id: str,
    ) -> Member:
        """Give a deactivated member access again. Needs the scope `member:write`."""
        answer: Member = self._send(
            "POST",
            f"/api/v1/members/{quote(member_id, safe='')}/reactivate",
        )
        return answer

    def list_invitations(
        self,
        *,
        after: str | None = None,
        limit: int | None = None,
    ) -> InvitationPage:
        """List pending invitations. Needs the scope `member:read`."""
        answer: InvitationPage = self._send(
            "GET",
            "/api/v1/invitations",
            query={
                "after": after,
                "limit": limit,
            },
        )
        return answer

    def create_invitation(
        self,
        body: InvitationCreation,
    ) -> Invitation:
        """Invite a person by email. Needs the scope `member:invite`."""
        answer: Invitation = self._send(
            "POST",
            "/api/v1/invitations",
            body=body,
        )
        return answer

    def resend_invitation(
        self,
        invitation_id: str,
    ) -> Invitation:
        """Send a new link, which replaces the former one. Needs the scope `member:invite`."""
        answer: Invitation = self._send(
            "POST",
            f"/api/v1/invitations/{quote(invitation_id, safe='')}/resend",
        )
        return answer

    def revoke_invitation(
        self,
        invitation_id: str,
    ) -> None:
        """Revoke a pending invitation. Needs the scope `member:invite`."""
        self._send(
            "DELETE",
            f"/api/v1/invitations/{quote(invitation_id, safe='')}",
        )

    def list_roles(
        self,
    ) -> RoleWithUsagePage:
        """List all roles with how many use them, on one page. Needs the scope `role:read`."""
        answer: RoleWithUsagePage = self._send(
            "GET",
            "/api/v1/roles",
        )
        return answer

    def create_role(
        self,
        body: RoleInput,
    ) -> Role:
        """Create a role. Needs the scope `role:write`."""
        answer: Role = self._send(
            "POST",
            "/api/v1/roles",
            body=body,
        )
        return answer

    def get_role(
        self,
        role_id: str,
    ) -> Role:
        """Read a role. Needs the scope `role:read`."""
        answer: Role = self._send(
            "GET",
            f"/api/v1/roles/{quote(role_id, safe='')}",
        )
        return answer

    def change_role(
        self,
        role_id: str,
        body: RoleInput,
        *,
        version: int,
    ) -> Role:
        """Change a role, immediately for all its members. Needs the scope `role:write`."""
        answer: Role = self._send(
            "PUT",
            f"/api/v1/roles/{quote(role_id, safe='')}",
            body=body,
            version=version,
        )
        return answer

    def delete_role(
        self,
        role_id: str,
    ) -> None:
        """Delete a role that is not assigned. Needs the scope `role:write`."""
        self._send(
            "DELETE",
            f"/api/v1/roles/{quote(role_id, safe='')}",
        )

    def list_service_accounts(
        self,
        *,
        after: str | None = None,
        limit: int | None = None,
    ) -> ServiceAccountPage:
        """List service accounts. Needs the scope `service_account:read`."""
        answer: ServiceAccountPage = self._send(
            "GET",
            "/api/v1/service-accounts",
            query={
                "after": after,
                "limit": limit,
            },
        )
        return answer

    def create_service_account(
        self,
        body: ServiceAccountInput,
    ) -> ServiceAccount:
        """Create a service account. Needs the scope `service_account:write`."""
        answer: ServiceAccount = self._send(
            "POST",
            "/api/v1/service-accounts",
            body=body,
        )
        return answer

    def get_service_account(
        self,
        service_account_id: str,
    ) -> ServiceAccount:
        """Read a service account. Needs the scope `service_account:read`."""
        answer: ServiceAccount = self._send(
            "GET",
            f"/api/v1/service-accounts/{quote(service_account_id, safe='')}",
        )
        return answer

    def change_service_account(
        self,
        service_account_id: str,
        body: ServiceAccountInput,
        *,
        version: int,
    ) -> ServiceAccount:
        """Change the name and the role of a service account. Needs the scope `service_account:write`."""
        answer: ServiceAccount = self._send(
            "PUT",
            f"/api/v1/service-accounts/{quote(service_account_id, safe='')}",
            body=body,
            version=version,
        )
        return answer

    def delete_service_account(
        self,
        service_account_id: str,
    ) -> None:
        """Delete a service account, and its keys with it. Needs the scope `service_account:write`."""
        self._send(
            "DELETE",
            f"/api/v1/service-accounts/{quote(service_account_id, safe='')}",
        )

    def list_audit_events(
        self,
        *,
        actor: str | None = None,
        action: str | None = None,
        object_id: str | None = None,
        request_id: str | None = None,
        since: str | None = None,
        until: str | None = None,
        after: str | None = None,
        limit: int | None = None,
    ) -> AuditEventPage:
        """List events of the audit log, newest first. Needs the scope `audit:read`."""
        answer: AuditEventPage = self._send(
            "GET",
            "/api/v1/audit-events",
            query={
                "actor": actor,
                "action": action,
                "object_id": object_id,
                "request_id": request_id,
                "since": since,
                "until": until,
                "after": after,
                "limit": limit,
            },
        )
        return answer

    def get_audit_event(
        self,
        event_id: str,
    ) -> AuditEvent:
        """Read an event of the audit log. Needs the scope `audit:read`."""
        answer: AuditEvent = self._send(
            "GET",
            f"/api/v1/audit-events/{quote(event_id, safe='')}",
        )
        return answer

    def get_settings(
        self,
    ) -> Settings:
        """Read the name and the address of the organisation. Needs the scope `settings:read`."""
        answer: Settings = self._send(
            "GET",
            "/api/v1/settings",
        )
        return answer

    def change_settings(
        self,
        body: SettingsChange,
        *,
        version: int,
    ) -> Settings:
        """Rename the organisation. Needs the scope `settings:write`."""
        answer: Settings = self._send(
            "PATCH",
            "/api/v1/settings",
            body=body,
            version=version,
        )
        return answer

    def get_branding(
        self,
    ) -> Branding:
        """Read the colour and the logo of the organisation. Needs the scope `settings:read`."""
        answer: Branding = self._send(
            "GET",
            "/api/v1/settings/branding",
        )
        return answer

    def change_branding(
        self,
        body: BrandingChange,
        *,
        version: int,
    ) -> Branding:
        """Change the colour of the organisation. Needs the scope `settings:write`."""
        answer: Branding = self._send(
            "PATCH",
            "/api/v1/settings/branding",
            body=body,
            version=version,
        )
        return answer

    def list_notifications(
        self,
        *,
        after: str | None = None,
        limit: int | None = None,
    ) -> NotificationPage:
        """List the notifications of the key’s person. Needs the scope `notification:read`."""
        answer: NotificationPage = self._send(
            "GET",
            "/api/v1/notifications",
            query={
                "after": after,
                "limit": limit,
            },
        )
        return answer

    def mark_notification_read(
        self,
        notification_id: str,
    ) -> None:
        """Mark a notification as read. Needs the scope `notification:read`."""
        self._send(
            "POST",
            f"/api/v1/notifications/{quote(notification_id, safe='')}/read",
        )

    def get_entitlements(
        self,
    ) -> Entitlements:
        """Read features, limits and usage, each with its source. Needs the scope `access:read`."""
        answer: Entitlements = self._send(
            "GET",
            "/api/v1/entitlements",
        )
        return answer

    def list_actions(
        self,
    ) -> ActionNeedsPage:
        """List every action with what it needs, on one page. Any key may ask."""
        answer: ActionNeedsPage = self._send(
            "GET",
            "/api/v1/actions",
        )
        return answer

    def decide(
        self,
        body: DecisionQuestion,
    ) -> DecisionAnswer:
        """Ask whether this key may do something, now or at a past time, and why. Needs the scope `home:read`."""
        answer: DecisionAnswer = self._send(
            "POST",
            "/api/v1/decisions",
            body=body,
        )
        return answer

    def get_decision(
        self,
        decision_id: str,
    ) -> RecordedDecision:
        """Read a recorded decision, with its trace as of its time. Needs the scope `audit:read`."""
        answer: RecordedDecision = self._send(
            "GET",
            f"/api/v1/decisions/{quote(decision_id, safe='')}",
        )
        return answer

    def get_test_mode(
        self,
    ) -> TestMode:
        """Read whether test mode is on. Needs the scope `home:read`."""
        answer: TestMode = self._send(
            "GET",
            "/api/v1/test-mode",
        )
        return answer

    def turn_on_test_mode(
        self,
    ) -> TestMode:
        """Turn on test mode. Needs the scope `settings:write`."""
        answer: TestMode = self._send(
            "POST",
            "/api/v1/test-mode",
        )
        return answer
