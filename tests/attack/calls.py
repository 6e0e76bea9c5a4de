"""Every function of the domain that works in a context, found by looking, with something to call it with."""

import importlib
import inspect
import pkgutil
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal
from functools import cache, cached_property
from typing import Any

import shared
from shared.access import actions
from shared.access.actions import MEMBER_INVITE
from shared.access.endpoints import ReceivedFile
from shared.access.file_kinds import ExportedRows, FileType
from shared.access.meters import Aggregation
from shared.access.models import DecisionRecord
from shared.api_keys.idempotency import KeptAnswer
from shared.api_keys.keys import KeyRequest
from shared.audit.audit_filter import AuditFilter
from shared.audit.models import AuditEvent, AuditVerification, VerificationState
from shared.backoffice.approved_changes import TenantDeletionOrder
from shared.backoffice.billing_orders import TransferTerms
from shared.backoffice.catalog_drafts import PublishRequest
from shared.backoffice.impersonations import ImpersonationRequest
from shared.backoffice.operator_keys import OperatorKeyRequest
from shared.backoffice.price_admin import PriceRequest
from shared.backoffice.reasons import state_reason
from shared.backoffice.tenant_creation import TenantOrder
from shared.billing.dunning_messages import DunningMessage
from shared.billing.models import PLATFORM, BillingOrderKind, BillingUsage
from shared.billing.provider_values import BillingDetails, ChangePreview
from shared.billing.subscriptions.changes import ChangeRequest, PlannedChange, Quote
from shared.billing.subscriptions.pausing import PauseQuote, PauseTarget
from shared.core.context import Ctx, OperatorCtx
from shared.core.db import now
from shared.core.ids import new_id
from shared.core.notification_kinds import NOTIFICATION_KINDS, MailChoice
from shared.core.paging import encode_cursor
from shared.entitlements.catalog import Catalog, build_offer
from shared.entitlements.evaluate import AccessSubject
from shared.entitlements.models import Plan, PlanVersion, TenantOverride
from shared.entitlements.plan_content import PlanContent
from shared.entitlements.subscription_grants import AccessStage
from shared.evidence.models import AuditStream, StreamPause
from shared.files.links import FileLink
from shared.files.uploads import UPLOADS
from shared.metering.allowances import build_month_key
from shared.metering.correction_effects import BilledEffect, BilledPart
from shared.metering.event_repository import CounterShare
from shared.metering.items import UsageItem
from shared.metering.models import CorrectionState, UsageCheck, WindowSize
from shared.metering.months import get_month
from shared.metering.rollup_repository import ChangedWindow, WindowKey
from shared.metering.usage_reports import Step, UsageQuery
from shared.offboarding.models import TenantDeletion
from shared.outbound_webhooks.models import DeliveryStatus, PauseReason, WebhookEndpoint
from shared.tenancy import provisioning
from shared.tenancy.logos import RedrawnLogo
from shared.tenancy.models import Notification, NotificationDigest, RoleRow
from tests.attack import billed, metered, webhooked
from tests.attack.world import CLAIMED, LAPSED, LEFT_BY_BOTH, OWN_ROLES, World
from tests.support import token_issuer

FLOORS = ("core", "web", "ui", "cli", "dev")  # of the machinery; between them is the domain
NOT_CALLED = {
    "access.decision": "decides, and reads nothing",
    "access.decision_counts.count_allowed": "counts, and reads nothing",
    "access.decision_counts.count_error": "counts, and reads nothing",
    "access.decision_records.add_allowed": "records what its caller was allowed",
    "access.decision_records.add_operators_allowed": "records what its caller was allowed",
    "access.decision_records.find_recorded_id": "tells its caller an id, and reads nothing",
    "access.policy": "the guard itself",
    "audit.audit_log.record": "adds a line in words of its caller",
    "audit.audit_log.record_operator": "adds a line in words of its caller",
    "backoffice.reasons": "checks a reason, and reads nothing",
    "billing.prepaid.balance.add_grant": "adds the row that it is handed",
    "billing.prepaid.balance.take_all": "takes from a row that its caller has read",
    "billing.unpaid_taxes.request_undo": "asks for jobs about what it is handed",
    "billing.sync.refund_results.record_failure": "adds a line about an adjustment that its caller has read",
    "billing.trial_repository.add_card_key": "adds the key of all tenants, where there is none",
    "billing.trial_repository.get_card_key": "the key of all tenants",
    "files.exports.publish_change": "tells open pages to load again",
    "files.files.build_file": "makes a row in words of its caller",
    "files.files.build_link": "signs the id of a file that its caller has read",
    "files.files.build_referenced_path": "signs an id that opens nothing by itself",
    "jobs.queue": "attacked as jobs",
    "tenancy.audited_changes": "reads by audit.audit_log.list_events, in words of its caller",
    "tenancy.entry": "the door itself",
    "tenancy.impersonations.record": "adds a line in words of its caller",
    "tenancy.siblings": "the door to test mode; attacked as siblings",
    "tenancy.tenant_repository.set_slug": "changes the row that it is handed",
}


CORRECTION_ITEM = {"kind": "add", "meter": "usage_events", "idempotency_key": "attack", "quantity": 1}
PRO = Plan(id="pln_pro", key="pro", name="Pro", sentence="", created_by="Bulkhead")
PRO_VERSION = PlanVersion(id="plv_pro_1", plan_id="pln_pro", number=1, created_by="Bulkhead")
OFFER = build_offer(PRO, PRO_VERSION)


@dataclass(frozen=True)
class Call:
    name: str  # as in "tenancy.members.set_role"
    fn: Any
    operators: bool

    @property
    def is_service(self) -> bool:
        """Asked by pages and routes, so it has to ask for the right."""
        module = self.name.rpartition(".")[0]
        return not module.endswith(("repository", ".tasks"))

    @cached_property
    def parameters(self) -> dict[str, inspect.Parameter]:
        return dict(list(inspect.signature(self.fn).parameters.items())[1:])


def find() -> list[Call]:
    """With the functions as they are at the moment: marked copies may be in their place."""
    return [
        Call(f"{module}.{name}", getattr(sys.modules[f"shared.{module}"], name), operators)
        for module, name, operators in _find_names()
    ]


@cache
def _find_names() -> list[tuple[str, str, bool]]:
    """Module, function, and whether it takes the context of an operator."""
    names = []
    for module in sorted(_modules()):
        loaded = importlib.import_module(f"shared.{module}")
        for name, fn in vars(loaded).items():
            if name.startswith("_") or not inspect.isfunction(fn) or fn.__module__ != loaded.__name__:
                continue
            first = next(iter(inspect.signature(fn).parameters.values()), None)
            full = f"{module}.{name}"
            if first is None or first.annotation not in (Ctx, OperatorCtx):
                continue
            if not any(full == prefix or full.startswith(f"{prefix}.") for prefix in NOT_CALLED):
                names.append((module, name, first.annotation is OperatorCtx))
    return names


def _modules() -> Iterator[str]:
    for package in pkgutil.iter_modules(shared.__path__):
        if package.ispkg and package.name not in FLOORS:
            path = importlib.import_module(f"shared.{package.name}").__path__
            modules = pkgutil.walk_packages(path, prefix=f"shared.{package.name}.")
            yield from (module.name.removeprefix("shared.") for module in modules if not module.ispkg)


def arguments(call: Call, world: World, tenant: str) -> dict[str, Any]:
    """Rows are named by ids of `tenant`. Raises KeyError for a parameter of which nobody said what it is."""
    values = {}
    for name, parameter in call.parameters.items():
        if (special := f"{call.name}.{name}") in SPECIAL:
            values[name] = SPECIAL[special](world, tenant)
            continue
        if name in CLAIMED or name not in _HONEST:
            if parameter.default is inspect.Parameter.empty or name in CLAIMED:
                values[name] = world.claims(name, tenant)[0]
        elif parameter.default is inspect.Parameter.empty:
            values[name] = _HONEST[name](world, tenant)
    return values


def with_reason(call: Call, ctx: Ctx | OperatorCtx, values: dict[str, Any]) -> dict[str, Any]:
    """The same, with the reason as this operator has stated it for this tenant, where one is asked for."""
    if not isinstance(ctx, OperatorCtx) or "reason" not in values:
        return values
    reason = state_reason(ctx, values["reason"], tenant_id=values.get("tenant_id", ""))
    return values | {"reason": reason}


def variants(call: Call, world: World, tenant: str) -> list[dict[str, Any]]:
    """The same, again with another person of the tenant, whose the row is not, and from the cursors of its pages on."""
    values = arguments(call, world, tenant)
    variations = [values]
    if "user_id" in values:
        other = next(
            actor_id for actor_id in world.claims("actor_id", tenant) if actor_id != values["user_id"]
        )
        variations.append(values | {"user_id": other})
    if "holder_id" in values:
        variations.append(values | {"holder_id": world.claims("service_account_id", tenant)[0]})
    if "after" in call.parameters and call.parameters["after"].annotation is str:
        variations += [values | {"after": cursor} for cursor in _cursors(world, tenant)]
    return variations


def _cursors(world: World, tenant: str) -> list[str]:
    """Of every list that has pages: the sort key of a row of this tenant."""
    event = world.rows("audit_event", "tenant_id", tenant)[0]
    invoice = world.rows("billing_invoice", "tenant_id", tenant)[0]
    membership_id = world.claims("membership_id", tenant)[0]
    return [
        encode_cursor("", tenant),
        encode_cursor("", membership_id),
        encode_cursor(0, "", membership_id),
        encode_cursor(event["at"], event["tenant_id"], event["id"]),
        encode_cursor(invoice["created_at"], invoice["id"]),
        *(
            encode_cursor(row[time], row["id"])
            for table, time in (("usage_change", "created_at"), ("usage_event", "occurred_at"))
            for row in world.rows(table, "tenant_id", tenant)[-1:]
        ),
    ]


def _find_upload(world: World, tenant: str, state: str) -> str:
    rows = world.rows("stored_file", "tenant_id", tenant)
    return next(row["id"] for row in rows if (row["kind"], row["state"]) == (UPLOADS.name, state))


SPECIAL: dict[str, Any] = {  # where a name means something else than elsewhere
    "evidence.streams.create.kind": lambda *_: "https",
    "evidence.streams.mark_paused.row": lambda world, tenant: AuditStream(
        **world.rows("audit_stream", "tenant_id", tenant)[0]
    ),
    "evidence.streams.mark_paused.reason": lambda *_: StreamPause.GONE,
    "evidence.chain_repository.list_links.after": lambda *_: 0,
    "evidence.chain_repository.count_links.after": lambda *_: 0,
    "evidence.chain_repository.count_links.last": lambda *_: 10**9,
    # An event of the former format, and one that has a seal.
    "evidence.chain_repository.find_hash.number": lambda world, tenant: 1 if tenant == world.acme else 4,
    "evidence.chain_repository.find_first_number.since": lambda *_: now() - timedelta(days=1),
    "evidence.chain_repository.find_last_number.until": lambda *_: now() + timedelta(days=1),
    "evidence.signed_exports.sign_export.written": lambda *_: ExportedRows(
        export_id=new_id("exp"), count=0, sha256="0" * 64, first=None, last=None, anchor=""
    ),
    "evidence.stream_repository.lock_due_streams.due": lambda *_: now() + timedelta(days=1),
    "backoffice.invoice_evidence_repository.list_prices.version_ids": lambda *_: ["plv_pro_1"],
    "backoffice.invoice_evidence_repository.list_emitted_windows.emission_ids": lambda world, tenant: [
        row["id"] for row in world.rows("usage_emission", "tenant_id", tenant)
    ],
    "backoffice.invoice_evidence_repository.list_window_changes.window_ids": lambda world, tenant: [
        row["window_id"] for row in world.rows("usage_change", "tenant_id", tenant)
    ],
    "api_keys.idempotency.begin.key": lambda *_: "attack",
    "api_keys.idempotency.begin.request": lambda *_: b"",
    "api_keys.idempotency.keep.key": lambda *_: "attack",
    "backoffice.operator_idempotency.begin.key": lambda *_: "attack",
    "backoffice.operator_idempotency.begin.request": lambda *_: b"",
    "backoffice.operator_idempotency.keep.key": lambda *_: "attack",
    **dict.fromkeys(
        ("backoffice.operator_keys.create.request", "backoffice.operator_keys.create_for.request"),
        lambda *_: OperatorKeyRequest(name="Another key", scopes=["operator:tenant:read"]),
    ),
    "backoffice.impersonations.request.order": lambda world, tenant: ImpersonationRequest(
        membership_id=world.claims("membership_id", tenant)[0], ticket="4471", minutes=30
    ),
    "tenancy.tenant_secrets.unseal.key": lambda *_: b"k" * 32,
    "api_keys.idempotency_repository.delete_expired.before": lambda *_: now() + timedelta(days=1),
    "api_keys.idempotency_repository.add.row_id": lambda *_: new_id("idk"),
    "api_keys.idempotency_repository.set_answer.status": lambda *_: 200,
    "api_keys.idempotency_repository.set_answer.body": lambda *_: b"{}",
    "api_keys.idempotency_repository.set_answer.headers": lambda *_: {"etag": "attack"},
    "api_keys.idempotency_repository.set_answer.row_id": lambda world, tenant: world.claims(
        "idempotency_key_id", tenant
    )[0],
    "api_keys.idempotency_repository.get.row_id": lambda world, tenant: world.claims(
        "idempotency_key_id", tenant
    )[0],
    "files.export_repository.list_exports.kind": lambda *_: "members",
    "files.file_repository.list_ended_files.at": lambda *_: now() + timedelta(days=30),
    **dict.fromkeys(
        ("files.file_repository.count_bytes.kind", "files.file_repository.list_files.kind"),
        lambda *_: UPLOADS.name,
    ),
    "files.file_repository.lock_kind.kind": lambda *_: UPLOADS.name,
    "files.files.require_kind.kind": lambda *_: UPLOADS,
    "files.uploads.delete.file_id": lambda world, tenant: _find_upload(world, tenant, "ready"),
    "files.uploads.get.file_id": lambda world, tenant: _find_upload(world, tenant, "ready"),
    "files.uploads.finish.name": lambda *_: "report.txt",
    "files.uploads.finish.received": lambda world, tenant: ReceivedFile(
        file_id=_find_upload(world, tenant, "writing"), type=FileType.TEXT, size=1, sha256="0" * 64
    ),
    "files.files.open_link.link": lambda world, tenant: FileLink(
        tenant_id=tenant,
        file_id=world.claims("file_id", tenant)[0],
        purpose="export",
        holder_id=world.rows("stored_file", "tenant_id", tenant)[0]["owner_id"],
        expires_at=now() + timedelta(hours=1),
    ),
    "audit.audit_log.find_event.event_id": lambda world, tenant: world.claims("audit_event_id", tenant)[0],
    "audit.audit_log_repository.find_event.event_id": lambda world, tenant: world.claims(
        "audit_event_id", tenant
    )[0],
    "tenancy.audit_reader.get_event.event_id": lambda world, tenant: world.claims("audit_event_id", tenant)[
        0
    ],
    "tenancy.decision_history.explain_for_subject.subject": lambda *_: AccessSubject(
        "Eve", "Member", frozenset({"home:read"})
    ),
    "tenancy.own_decisions.decide.action": lambda *_: "home:read",
    "api_keys.keys.create.request": lambda *_: KeyRequest(name="Another key", scopes=["home:read"]),
    **dict.fromkeys(
        ("api_keys.issuers.change.request", "api_keys.issuers.create.request"),
        lambda *_: token_issuer.build_request(role="viewer"),
    ),
    "api_keys.issuer_repository.is_audience_taken.issuer": lambda world, tenant: world.rows(
        "jwt_issuer", "tenant_id", tenant
    )[0]["issuer"],
    "api_keys.issuer_repository.is_audience_taken.audience": lambda *_: token_issuer.AUDIENCE,
    "api_keys.issuer_repository.is_audience_taken.other_than": lambda *_: "",
    "tenancy.role_repository.get_existing_role.key": lambda world, tenant: world.own_role(tenant),
    "tenancy.role_repository.list_service_account_ids_with_role.role": lambda *_: "member",
    # What has rows in both tenants: the job that sets up each, and a person whom both have invited.
    "audit.audit_log_repository.count_events_of.actor_id": lambda *_: provisioning.TASK_NAME,
    "audit.audit_log_repository.count_events_of.action": lambda *_: "provisioning.step_done",
    "tenancy.invitation_repository.lock_pending_invitations_to.user_ids": lambda world, _: [
        world.carl.user.id
    ],
    "outbound_webhooks.endpoints.mark_paused.row": lambda world, tenant: _endpoint(world, tenant),
    "outbound_webhooks.endpoints.mark_paused.reason": lambda *_: PauseReason.MEMBER,
    "outbound_webhooks.endpoints.unseal_secrets.row": lambda world, tenant: _endpoint(world, tenant),
    "outbound_webhooks.api.prepare_url_check.body": lambda *_: {"url": "https://hooks.example.com/attack"},
    "outbound_webhooks.endpoints.unseal_secrets.key": lambda *_: b"x" * 32,
    "outbound_webhooks.dispatch_repository.postpone.results": lambda world, tenant: webhooked.build_results(
        world.rows("webhook_delivery", "tenant_id", tenant), DeliveryStatus.PENDING
    ),
    "outbound_webhooks.delivery_repository.list_deliveries.status": lambda *_: None,
    "audit.verification_repository.check_chain.after": lambda *_: 0,
    "backoffice.key_renewal.is_realm_renewed.realm": lambda *_: "user",
    "backoffice.key_renewal.record_realm.realm": lambda *_: "user",
    **dict.fromkeys(
        ("backoffice.price_admin.plan_price.request", "backoffice.price_admin.set_price.request"),
        lambda *_: PriceRequest(version_id="plv_pro_1", period="month", kind="flat", amount=4_900),
    ),
    "billing.recurring_revenue.record.subscriptions": lambda *_: (),
    "billing.recurring_revenue.record.priced_versions": lambda *_: (),
    "backoffice.approvals.submit.action": lambda *_: actions.OP_TENANT_DELETE,
    "backoffice.approvals.submit.payload": lambda world, tenant: TenantDeletionOrder(
        tenant_id=tenant, grace_days=30
    ),
    "backoffice.approved_changes.change_flag.rules": lambda *_: [{"kind": "beta"}],
    "backoffice.billing_orders.request_transfer_subscription.terms": lambda *_: TransferTerms(
        version_id="plv_pro_1", period="month", seats=3, currency="usd", days_until_due=30
    ),
    "backoffice.billing_orders_repository.find_open_order.subject_id": lambda world, tenant: world.rows(
        "billing_order", "tenant_id", tenant
    )[0]["subject_id"],
    "backoffice.billing_orders_repository.find_open_order.kind": lambda *_: BillingOrderKind.MARK_PAID,
    "backoffice.tenant_exports_repository.list_rows.table": lambda *_: RoleRow.metadata.tables["role"],
    "backoffice.tenant_exports_repository.list_rows.hidden": lambda *_: (),
    "backoffice.tenant_exports.open_link.link": lambda world, tenant: FileLink(
        tenant_id=tenant,
        file_id=world.claims("file_id", tenant)[0],
        purpose="tenant_data",
        holder_id="opr_attack",
        expires_at=now() + timedelta(days=1),
    ),
    "backoffice.billing_orders.request_mark_paid.reference": lambda *_: "Transfer 4471",
    "backoffice.billing_orders.request_trial_extension.days": lambda *_: 10,
    "backoffice.adjustments_repository.find_blocking_dispute.invoice_id": lambda world, tenant: max(
        world.claims("invoice_id", tenant), key=len
    ),  # the disputed one
    "tenancy.tenant_repository.release_slug.slug": lambda *_: LEFT_BY_BOTH,
    "tenancy.invitations.record_delivery.problem": lambda *_: "550 No such user",
    "tenancy.mail_branding.build_frame.kind": lambda *_: "reminders",
    **dict.fromkeys(
        (
            f"tenancy.mail_preferences.{name}.kind"
            for name in ("choose", "get_my_preference", "set_preference")
        ),
        lambda *_: "payments",
    ),
    "tenancy.mail_preferences.choose.mail": lambda *_: MailChoice.NOW,
    "tenancy.mail_preferences.get_preference.kind": lambda *_: NOTIFICATION_KINDS["payments"],
    "tenancy.mail_preferences.set_preference.enabled": lambda *_: True,
    "tenancy.role_repository.get_role.key": lambda world, tenant: world.own_role(tenant),
    "tenancy.role_repository.is_role_name_taken.name": lambda world, tenant: OWN_ROLES[world.names[tenant]],
    "tenancy.role_repository.list_user_ids_with_role.role": lambda *_: "admin",
    "tenancy.mail_preference_repository.find_mail_preference.kind": lambda *_: "payments",
    "tenancy.mail_preference_repository.save_mail_preference.digest": lambda *_: False,
    "tenancy.mail_preference_repository.save_mail_preference.kind": lambda *_: "payments",
    "tenancy.mail_preference_repository.save_mail_preference.enabled": lambda *_: True,
    "tenancy.past_state_repository.get_role_at.key": lambda world, tenant: world.own_role(tenant),
    **dict.fromkeys(
        ("metering.rollups.get_digest.month", "metering.rollups.recompute_month.month"),
        lambda *_: get_month(now() - timedelta(hours=3)),
    ),
    **dict.fromkeys(
        (
            *("metering.counter_repository.sum_used.keys", "metering.counter_repository.begin_again.keys"),
            "metering.counters.begin_again.keys",
            *("metering.counters.list_counters.keys", "metering.counters.sum_used.keys"),
        ),
        lambda *_: [build_month_key(metered.METER, now())],
    ),
    "metering.event_repository.add_events.shares": lambda world, tenant: [
        CounterShare(
            event_id=_usage_item().id,
            key=build_month_key(metered.METER, now()),
            reservation_id=min(row["id"] for row in world.rows("usage_reservation", "tenant_id", tenant)),
        )
    ],
    **dict.fromkeys(
        ("metering.counters.add_up.gained", "metering.rollups.add_up_counters.gained"),
        lambda *_: {(metered.METER, get_month(now())): Decimal(1)},
    ),
    "metering.counter_repository.change_counter.counter_id": lambda *_: (
        build_month_key(metered.METER, now()).id
    ),
    "metering.counter_repository.create_counter.key": lambda *_: build_month_key(metered.METER, now()),
    "metering.event_repository.list_known_keys.ids": lambda world, tenant: [
        row["id"] for row in world.rows("usage_key", "tenant_id", tenant)
    ],
    "metering.event_repository.find_event.event_id": lambda *_: f"{metered.METER}:{metered.KEY}",
    "metering.usage_reports.find_event.key": lambda *_: metered.KEY,
    "metering.report_repository.list_quantities.aggregation": lambda *_: Aggregation.UNIQUE,
    "metering.report_repository.list_quantities.meter": lambda *_: "active_users",
    "metering.usage.record.key": lambda *_: "attack",
    "backoffice.noisy_tenants.list_noisy.hours": lambda *_: 1,
    "backoffice.noisy_tenants.list_noisy.order": lambda *_: "database",
    "backoffice.noisy_tenants.throttle.percent": lambda *_: 50,
    "backoffice.noisy_tenants.throttle.minutes": lambda *_: 15,
    "metering.breakdowns.get_breakdown.by": lambda *_: "sender",
    "metering.breakdowns.get_breakdown.meter": lambda *_: metered.METER,
    "metering.report_repository.list_parts.meter": lambda *_: metered.METER,
    "metering.corrections.add_items.batch": lambda *_: [CORRECTION_ITEM],
    **dict.fromkeys(
        (
            "metering.correction_repository.find_later_correction.correction_id",
            "metering.correction_repository.undo.correction_id",
        ),
        lambda *_: metered.CLOSED_CORRECTION,
    ),
    **dict.fromkeys(
        (
            f"metering.correction_repository.{name}.correction_id"
            for name in ("apply", "find_correction", "list_effects", "list_items")
        ),
        lambda *_: metered.OPEN_CORRECTION,
    ),
    **dict.fromkeys(
        (
            "metering.correction_repository.find_events.event_ids",
            "metering.correction_repository.list_used_keys.event_ids",
        ),
        lambda world, tenant: [row["id"] for row in world.rows("usage_event", "tenant_id", tenant)],
    ),
    "fairness.heavy_reads.read_report.work": lambda *_: _read_nothing,
    "billing.usage_preview.list_invoice_effects.billed": lambda *_: [
        BilledEffect(
            meter=metered.METER,
            quantity=Decimal(1),
            units=1,
            carried_in=Decimal(0),
            carried=Decimal(0),
            parts=[BilledPart(starts_at=now(), units=1)],
        )
    ],
    "metering.correction_batches.begin.state": lambda *_: CorrectionState.CLOSING,
    "metering.correction_batches.lock.state": lambda *_: CorrectionState.OPEN,
    "backoffice.usage_corrections.recompute_month.month": lambda *_: now(),
    **dict.fromkeys(
        ("backoffice.tenant_usage.get_tenant_usage.query", "metering.usage_reports.get_report.query"),
        lambda *_: UsageQuery(since=now() - timedelta(days=1), until=now(), step=Step.HOUR),
    ),
    **dict.fromkeys(
        ("metering.rollup_repository.list_computed.ids", "metering.rollup_repository.settle_windows.ids"),
        lambda world, tenant: [row["id"] for row in world.rows("usage_window", "tenant_id", tenant)],
    ),
    "billing.subscriptions.pausing.plan_pause.verb": lambda *_: "pause",
    "billing.subscriptions.pausing.prepare_pause.quote": lambda _, tenant: PauseQuote(
        target=PauseTarget(
            verb="pause",
            tenant_id=tenant,
            customer_id="cus_x",
            subscription_id="sub_x",
            fingerprint="",
            quoted_at=now(),
            key="pause-x",
        ),
        preview=ChangePreview("usd", 0, (), now()),
    ),
}
_HONEST: dict[str, Any] = {  # of the world and the tenant whose rows are meant
    "impersonation_ids": lambda world, tenant: world.claims("impersonation_id", tenant),
    "is_needed": lambda *_: True,
    "aggregation": lambda *_: Aggregation.SUM,
    "alert_name": lambda *_: "error_rate",
    "is_on": lambda *_: True,
    "batch": lambda *_: [{"meter": "usage_events", "idempotency_key": "attack", "quantity": 1}],
    "batch_ids": lambda world, tenant: [
        row["batch_id"] for row in world.rows("usage_event", "tenant_id", tenant)
    ],
    "counted": lambda *_: [build_month_key(metered.METER, now())],
    "counter_ids": lambda world, tenant: [
        row["id"] for row in world.rows("usage_counter", "tenant_id", tenant)
    ],
    "check": lambda _, tenant: UsageCheck(tenant_id=tenant),
    "correction_ids": lambda world, tenant: world.claims("correction_id", tenant),
    "dimension": lambda *_: "",
    "digest": lambda world, tenant: _digest(world, tenant),
    "due_at": lambda world, tenant: world.rows("notification_digest", "tenant_id", tenant)[0]["due_at"],
    "ended_before": lambda *_: now(),
    "in_app": lambda *_: True,
    "time_zone": lambda *_: "Europe/Berlin",
    "history_items": lambda *_: [_usage_item()],
    "identifiers": lambda world, tenant: [
        row["identifier"] for row in world.rows("billing_usage", "tenant_id", tenant)
    ],
    "is_billed": lambda *_: False,
    "is_cap": lambda *_: True,
    "is_limited": lambda *_: False,
    "item_by_id": lambda *_: {_usage_item().id: _usage_item()},
    "is_program": lambda *_: False,
    "lines": lambda *_: f"void, {metered.METER}, {metered.KEY}",
    "meters": lambda *_: [metered.METER],
    "note": lambda *_: "Sent twice",
    "values": lambda *_: [{"kind": "void", "meter": metered.METER, "idempotency_key": metered.KEY}],
    "month": lambda *_: get_month(now() - timedelta(hours=3)).isoformat(),
    "items": lambda *_: [_usage_item()],
    "size": lambda *_: WindowSize.HOUR,
    "step": lambda *_: "hour",
    "window": lambda world, tenant: _changed_window(world, tenant),
    "windows": lambda world, tenant: [
        WindowKey(
            meter=row["meter"], size=WindowSize.HOUR, starts_at=row["starts_at"], ends_at=row["ends_at"]
        )
        for row in world.rows("usage_window", "tenant_id", tenant)
    ],
    "export_filter": lambda *_: {},
    "export_format": lambda *_: "csv",
    "file_ids": lambda world, tenant: world.claims("file_id", tenant),
    "finished_before": lambda *_: now() + timedelta(days=1),
    "kind_name": lambda *_: "members",
    "owner_id": lambda world, tenant: world.rows("export_job", "tenant_id", tenant)[0]["owner_id"],
    "about": lambda *_: "in_attack",
    "card_hash": lambda *_: "",
    "expected": lambda *_: None,
    "has_subscribed": lambda *_: False,
    "is_granted": lambda *_: False,
    "max_trials": lambda *_: 1,
    "persons": lambda *_: ["usr_attack"],
    "reserved_for": lambda *_: None,
    "account_id": lambda *_: PLATFORM,
    "answer": lambda *_: KeptAnswer(200, {}, "An answer"),
    "blob": lambda *_: b"sealed",
    "field": lambda *_: "idempotency_key.body",
    "operation": lambda *_: "attack",
    "plain": lambda *_: "A secret",
    "request_digest": lambda *_: "a digest",
    "networks": lambda *_: [],
    "origins": lambda *_: [],
    "scopes": lambda *_: ["home:read"],
    "holder_ids": lambda world, _: [world.bea.user.id],
    "holder_id": lambda world, tenant: world.claims("user_id", tenant)[0],
    "account_action": lambda *_: "session.started",
    "action": lambda *_: MEMBER_INVITE,
    "address": lambda *_: "127.0.0.1",
    "allowed_reasons": lambda *_: (),
    "amount": lambda *_: 7,
    "at": lambda *_: now(),
    "before": lambda *_: now(),
    "after": lambda *_: "",
    "by": lambda *_: "Eve",
    "event_ids": lambda world, tenant: [row["id"] for row in world.rows("audit_seal", "tenant_id", tenant)],
    "excluded_reasons": lambda *_: ["allowed"],
    "addons": lambda *_: {},
    "beyond": lambda *_: None,
    "body": lambda *_: "A body",
    "catalogue": lambda *_: Catalog(1, offers_by_plan={PRO.id: (OFFER,)}, plans={PRO.id: PRO}),
    "checked": lambda *_: "another step",
    "claim_id": lambda *_: "",
    "cleanup_by": lambda *_: (now() + timedelta(days=30)).date(),
    "cause": lambda *_: "return",
    "code": lambda *_: "goodwill",
    "colour": lambda *_: "#123456",
    "confirmed_digest": lambda *_: "",
    "content": lambda *_: PlanContent(),
    "confirm": lambda world, tenant: world.names[world.acme],
    "currency": lambda *_: "usd",
    "dedupe": lambda *_: new_id("ntf"),
    "endpoint_ids": lambda world, tenant: world.claims("endpoint_id", tenant),
    "delivery_ids": lambda world, tenant: world.claims("delivery_id", tenant),
    "descending": lambda *_: False,
    "by_operator": lambda *_: False,
    "deletion": lambda world, tenant: _deletion(world, tenant),
    "delete_at": lambda *_: now() + timedelta(days=30),
    "grace_days": lambda *_: 30,
    "prefixes": lambda *_: ("tenant.",),
    "excluded": lambda *_: False,
    "description": lambda *_: "Another description",
    "endpoint": lambda world, tenant: _endpoint(world, tenant),
    "event_types": lambda *_: ["member.removed"],
    "event_id": lambda world, tenant: billed.event_of(world.claims("customer_id", tenant)[0]),
    "enabled": lambda *_: True,
    "ends_at": lambda *_: now() + timedelta(days=7),
    "expired_before": lambda *_: now(),
    "error": lambda *_: "a problem",
    "feature": lambda *_: "sso",
    "flag": lambda *_: "role_editor",
    "effective_at": lambda *_: None,
    "email": lambda world, tenant: LAPSED[world.names[tenant]],
    "identifier": lambda *_: "attack-1",
    "kek_id": lambda *_: 1,
    "job_id": lambda *_: 1,
    "kept_until": lambda *_: now() + timedelta(days=90),
    "key": lambda *_: "review_roles",
    "keys": lambda world, tenant: [world.own_role(tenant)],
    "kind": lambda *_: "credit",
    "invoices": lambda *_: (),
    "kinds": lambda *_: ("grant",),
    "last_id": lambda *_: "z",
    "limit": lambda *_: 100,
    "limit_key": lambda *_: "customers",
    "message": lambda *_: DunningMessage("attack", "sub_x", "A title", "A text"),
    "meter": lambda *_: "api_calls",
    "moves": lambda *_: False,
    "most": lambda *_: 3,
    "name": lambda *_: "Another name",
    "nonce": lambda *_: 1,
    "number": lambda *_: 1,
    "offer": lambda *_: OFFER,
    "on": lambda *_: True,
    "current_capacity": lambda *_: None,
    "quote": lambda world, tenant: _offered(tenant),
    "other_than": lambda *_: "",
    "search_text": lambda *_: "",
    "operator_id": lambda *_: new_id("opr"),
    "operator_key_id": lambda *_: new_id("opk"),
    "order": lambda *_: TenantOrder(owner_email="wanda@ordered.test", owner_name="Wanda", name="Ordered"),
    "period": lambda *_: "month",
    "permissions": lambda *_: ["home:read"],
    "owner": lambda *_: "Access team",
    "plan_id": lambda *_: "pln_pro",
    "problem": lambda *_: ValueError("a problem"),
    "previous_hash": lambda *_: b"\x00",
    "quantity": lambda *_: 2,
    "query": lambda *_: "",
    "reason": lambda *_: "Ticket 4471",
    "record": lambda world, tenant: DecisionRecord.model_construct(
        **world.rows("decision_record", "tenant_id", tenant)[0]
    ),
    "request_ids": lambda world, tenant: sorted(
        {row["request_id"] for row in world.rows("decision_record", "tenant_id", tenant)}
    ),
    "events": lambda world, tenant: [
        AuditEvent.model_construct(**row) for row in world.rows("audit_event", "tenant_id", tenant)
    ],
    "text": lambda world, tenant: world.claims("decision_id", tenant)[0],
    "task": lambda *_: "files.run_export",
    "refunds": lambda *_: (),
    "request_id": lambda world, tenant: world.rows("audit_event", "tenant_id", tenant)[0]["request_id"],
    "permission": lambda *_: "webhook:write",
    "results": lambda world, tenant: webhooked.build_results(
        world.rows("webhook_delivery", "tenant_id", tenant)
    ),
    "approval_id": lambda *_: new_id("apr"),
    "waiting": lambda *_: True,
    "reset_id": lambda *_: new_id("frs"),
    "revision": lambda *_: 1,
    "request": lambda *_: PublishRequest(revision=1, reason="Ticket 4471", moves=False, confirmed_digest=""),
    "role": lambda *_: "member",
    "roles": lambda *_: ["owner", "billing"],
    "row": lambda world, tenant: _notification(world, tenant),
    "run_id": lambda *_: "rcr_attack",
    "seats": lambda *_: 3,
    "secrets": lambda *_: ["whsec_attackattack"],
    "sentence": lambda *_: "A sentence",
    "since": lambda *_: now() - timedelta(days=1),
    "slug": lambda *_: "another-slug",
    "sort": lambda *_: "name",
    "stages": lambda *_: [AccessStage("active", "As paid")],
    "state": lambda world, tenant: billed.load_customer_state(world.claims("customer_id", tenant)[0]),
    "status": lambda *_: "grace",
    "table": lambda *_: TenantOverride,
    "tables": lambda *_: ["notification"],
    "starts": lambda *_: [now()],
    "ticket": lambda *_: 10**12,
    "threshold": lambda *_: 1_000,
    "monthly_maximum": lambda *_: 10_000,
    "title": lambda *_: "A title",
    "until": lambda *_: now(),
    "url": lambda *_: "https://hooks.example.com/attack",
    "usage_row": lambda world, tenant: BillingUsage(
        tenant_id=tenant, meter="api_calls", at=now(), quantity=1, identifier="attack-2"
    ),
    "top_up_ids": lambda world, tenant: [row["id"] for row in world.rows("top_up", "tenant_id", tenant)],
    "turned_on_at": lambda *_: now().isoformat(),
    "user_ids": lambda world, tenant: world.claims("user_id", tenant),
    "draft": lambda *_: PRO_VERSION,
    "plan": lambda *_: PRO,
    "draft_id": lambda *_: "plv_pro_1",
    "verification": lambda world, tenant: AuditVerification(
        tenant_id=tenant, state=VerificationState.RUNNING, started_at=now(), changed_at=now()
    ),
    "version": lambda *_: None,
    "version_id": lambda *_: "plv_pro_1",
    "logo": lambda *_: RedrawnLogo(b"a picture"),
    "value": lambda *_: "small",
    "form_values": lambda *_: {},
    "criteria": lambda *_: AuditFilter(),
    "event_filter": lambda *_: AuditFilter(),
    "new_rules": lambda *_: AuditFilter(),
    "capacity": lambda *_: 3,
    "reason_code": lambda *_: "other",
    "rows": lambda *_: (),
    "change_request": lambda *_: ChangeRequest(seats=120),
    "details": lambda *_: BillingDetails(name="Acme", email="eve@evil.test"),
    "opened": lambda *_: BillingDetails(name="Acme"),
    "previous_date": lambda *_: now().date(),
    "device": lambda *_: "Chrome on macOS",
    "within": lambda *_: timedelta(hours=1),
    "wrapped": lambda *_: b"a key",
    "void_ids": lambda world, tenant: world.claims("invoice_id", tenant),
}


def _offered(tenant: str) -> Quote:
    """A change that was shown to somebody of this tenant."""
    change = PlannedChange(
        tenant_id=tenant,
        customer_id="cus_x",
        subscription_id="sub_x",
        request=ChangeRequest(seats=120),
        after={},
        before={},
        lines=(),
        canceled_addons=(),
        prorate=True,
        fingerprint="",
        new_amount=100,
        old_amount=50,
        period="month",
        starts_new_period=False,
        renews_at=None,
        has_metered=False,
        seats=4,
        currency="usd",
        tax_text="",
    )
    return Quote(change, ChangePreview("usd", 100, (), now()), now())


def _usage_item() -> UsageItem:
    return UsageItem(meter=metered.METER, key="attack", quantity=Decimal(1), occurred_at=now())


def _changed_window(world: World, tenant: str) -> ChangedWindow:
    row = world.rows("usage_window", "tenant_id", tenant)[0]
    shared = ("id", "meter", "starts_at", "ends_at", "quantity", "event_count", "revision", "closed_at")
    return ChangedWindow(
        **{name: row[name] for name in shared},
        size=WindowSize.HOUR,
        quantity_before=Decimal(0),
        count_before=0,
        is_stored=True,
        first_recorded_at=None,
    )


def _endpoint(world: World, tenant: str) -> WebhookEndpoint:
    """As it is stored, in no session."""
    return WebhookEndpoint.model_construct(**world.rows("webhook_endpoint", "tenant_id", tenant)[0])


def _deletion(world: World, tenant: str) -> TenantDeletion:
    """As it is stored, in no session."""
    return TenantDeletion.model_construct(**world.rows("tenant_deletion", "tenant_id", tenant)[0])


def _digest(world: World, tenant: str) -> NotificationDigest:
    """As it is stored, in no session."""
    return NotificationDigest.model_construct(**world.rows("notification_digest", "tenant_id", tenant)[0])


def _notification(world: World, tenant: str) -> Notification:
    user = world.claims("user_id", tenant)[0]
    return Notification(
        tenant_id=tenant, user_id=user, kind="attack", title="A title", body="", href="", dedupe=new_id("ntf")
    )


async def _read_nothing(_: Ctx) -> None:
    """A report without statements."""
