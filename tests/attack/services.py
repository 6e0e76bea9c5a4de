"""The wall behind the gate: every service, called by somebody in the tenant without the right for it.

`guarded` are all of them but those named here, which are called by others that were asked. A new service that asks
for nothing turns the report red.
"""

import dataclasses
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from shared.access.actions import ACTIONS
from shared.access.refusal_codes import Reason
from shared.access.roles import ROLES
from shared.core import request_ids
from shared.core.context import Actor, Ctx, OperatorCtx
from shared.core.errors import Refused
from shared.tenancy import entry
from tests.attack import calls
from tests.attack.calls import Call
from tests.attack.evidence import Evidence
from tests.attack.report import Report
from tests.attack.variety import some
from tests.attack.world import World

KIND = "services"
HOLDINGS = (
    *(
        "add_addon",
        "assign_plan",
        "assign_first_plan",
        "end_assignment",
        "get_snapshot",
        "override_feature",
        "override_limit",
        "seed_flags",
    ),
    *("set_billing_status", "set_flag_override", "set_trait"),
)
ASKED_BEFORE = {
    "billing.usage_preview.list_invoice_effects": "by backoffice.usage_corrections",
    "billing.subscriptions.subscriptions.list_charged_subscriptions": "by offboarding.deletions",
    "billing.subscriptions.subscriptions.read_records": "by billing.subscriptions.overview and the verbs of billing",
    "entitlements.assignments.get_catalog": "by services that name plans and features",
    "audit.audit_log.count_events": "by tenancy.exports",
    "tenancy.user_tenants.list_actor_tenants": "the tenants of the actor, for the shell of the app",
    "evidence.streams.mark_paused": "by evidence.streams.pause and the sender",
    "audit.audit_log.export_events": "by tenancy.exports",
    "files.files.list_ended": "a job",
    "fairness.heavy_reads.read_report": "by each report; it reads nothing itself",
    "files.files.require_kind": "asks for what a kind of file needs",
    "files.retention.expire_all": "by test_mode.test_tenants",
    "files.files.open_link": "answers 404 without the right; attacked as files",
    "audit.audit_log.find_event": "by tenancy.audit_reader",
    "backoffice.adjustments.list_adjustments": "by backoffice.tenant_billing",
    "backoffice.adjustments.list_refunds": "by backoffice.tenant_billing",
    "backoffice.adjustments.reject_adjustment": "a job",
    "backoffice.adjustments.release_adjustment": "a job",
    "files.operator_exports.get_file": "by backoffice.tenant_exports",
    "files.operator_exports.list_newest": "by backoffice.tenant_exports",
    "files.operator_exports.lock_exports": "by backoffice.tenant_exports",
    "backoffice.tenant_exports.open_link": "answers 404 without the right, by tests/backoffice/test_tenant_exports.py",
    "backoffice.billing_orders.list_orders": "by backoffice.tenant_billing",
    "backoffice.billing_orders.list_transfer_offers": "by backoffice.tenant_billing",
    "billing.subscriptions.checkout.choose_currency": "by both of its callers",
    **dict.fromkeys(
        (
            f"billing.prepaid.balance.{name}"
            for name in (
                *("get_grant", "lock_grant", "notify_pages"),
                *("read_overview", "read_operator_overview"),
            )
        ),
        "by backoffice.prepaid_grants, backoffice.tenant_billing and billing.prepaid",
    ),
    "billing.dispute_pauses.request_changes": "by billing.sync.apply_state",
    "billing.prepaid.top_ups.find_method_id": "by billing.prepaid.top_up_charges",
    "billing.prepaid.top_up_charges.settle_top_ups": "by billing.sync.apply_state",
    "billing.prepaid.balance.apply_reversals": "by billing.sync.apply_state",
    "billing.prepaid.balance.expire_grants": "a job",
    "billing.dunning.send_message": "by jobs, in words of their own",
    "billing.sync.refund_results.fail_adjustments": "by billing.sync.apply_state",
    "billing.sync.refund_results.list_alerts": "by billing.sync.apply_state",
    "backoffice.unbilled_usage.list_unbilled": "by backoffice.tenant_billing",
    "backoffice.duplicate_subscriptions.list_charged_ids": "by request_end and backoffice.tenant_billing",
    "access.decision_counts.list_refusals": "by backoffice.recent_refusals",
    "access.decision_records.find_record": "by tenancy.recorded_decisions and backoffice.recent_refusals",
    "access.decision_records.list_of_requests": "by tenancy.recorded_decisions and backoffice.recent_refusals",
    "audit.audit_log.count_events_of": "by tenancy.account_events",
    "audit.audit_log.has_event": "by tenancy.account_events",
    "audit.audit_log.list_events": "by tenancy.audit_reader and backoffice.tenant_directory",
    "audit.audit_log.list_operator_events": "by backoffice.tenant_directory",
    "audit.audit_log.list_security_events": "by backoffice.tenant_directory",
    "audit.audit_log.verify_operator_chain": "by backoffice.tenant_directory",
    "audit.sealing.seal_tenant": "by tenancy.audit_reader and tenancy.exports",
    "audit.verification.get_status": "by tenancy.audit_reader",
    "audit.verification.lock": "by tenancy.audit_reader",
    "audit.verification.run_step": "by tenancy.audit_reader",
    **dict.fromkeys(
        ("api_keys.idempotency.begin", "api_keys.idempotency.keep"), "by web.rest, for its actor"
    ),
    **dict.fromkeys(
        (f"tenancy.tenant_secrets.{name}" for name in ("read_key", "seal", "unseal")),
        "by services that keep secrets, after the right",
    ),
    **dict.fromkeys(
        ("backoffice.operator_idempotency.begin", "backoffice.operator_idempotency.keep"),
        "by web.rest, for its actor",
    ),
    "backoffice.operator_keys.list_scopes": "of the actor's own permissions",
    "tenancy.tenants.get_rights_version": "by backoffice.tenant_access",
    "api_keys.keys.end_keys_of_members": "by tenancy.membership_end",
    "api_keys.keys.list_scopes": "of the actor's own permissions",
    "tenancy.service_accounts.lock_active": "by tenancy.service_accounts and api_keys.keys",
    "tenancy.audit_reader.continue_verification": "a job",
    "tenancy.invitations.end_promises": "by tenancy.membership_end",
    "tenancy.invitations.close_invitations_to": "by tenancy.members, for a member who is reactivated",
    "tenancy.membership_end.end_promises": "by tenancy.members and tenancy.roles, which end the rights",
    "billing.usage.record": "by services that count what is used",
    **dict.fromkeys(
        (
            f"metering.correction_batches.{name}"
            for name in ("add_correction", "add_items", "begin", "get", "get_effect", "list_views", "lock")
        ),
        "by metering.corrections and backoffice.usage_corrections",
    ),
    "metering.correction_batches.close": "a job, and by metering.corrections",
    "metering.correction_batches.revert": "a job, and by metering.corrections",
    "metering.checks.find_latest": "by backoffice.tenant_usage",
    "metering.checks.put_job": "by metering.checks",
    "metering.checks.put_job_if_due": "by metering.rollups",
    "metering.checks.run_check": "a job",
    "metering.emissions.emit_closed": "by metering.rollups and metering.history",
    "metering.history.add_history": "by operators' programs, such as the demo's seed",
    "billing.spending.spend_limits.send_alert": "by metering.rollups",
    "metering.counters.add_up": "by metering.rollups",
    "metering.counters.begin_again": "by billing.spending.spend_limits",
    "metering.counters.list_counters": "by billing.spending.spend_limits",
    "metering.counters.sum_used": "by billing.spending.spend_limits",
    "metering.limit_warnings.warn_members": "by metering.rollups",
    "metering.quotas.admit": "by metering.usage",
    "metering.quotas.list_quotas": "by services that show limits",
    "metering.rollups.get_digest": "by metering.rollups",
    "metering.rollups.recompute": "by metering.rollups and metering.history",
    "metering.rollups.record_change": "by metering.rollups and metering.correction_batches",
    "metering.rollups.recompute_month": "a job",
    "metering.rollups.add_up_counters": "by metering.rollups and metering.correction_batches",
    "metering.rollups.roll_up": "a job",
    "metering.rollups.roll_up_windows": "by metering.rollups and metering.correction_batches",
    "metering.usage.record": "by services that count what is used",
    "outbound_webhooks.endpoints.mark_paused": "by outbound_webhooks.results, and by pause",
    "outbound_webhooks.endpoints.unseal_secrets": "by the dispatcher",
    "outbound_webhooks.event_catalog.build_catalog": "by outbound_webhooks.endpoints",
    "outbound_webhooks.event_catalog.can_read": "by the services of webhooks; reads nothing",
    "outbound_webhooks.event_catalog.require_readable": "by the services of webhooks; reads nothing",
    "outbound_webhooks.pause_notices.build_mail": "a job",
    "outbound_webhooks.pause_notices.notify_managers": "by outbound_webhooks.results",
    **dict.fromkeys(
        (
            f"tenancy.impersonations.{name}"
            for name in (
                *("build_transcript", "build_views", "count_waiting", "end", "find_member"),
                *("is_consent_needed", "list_page", "lock", "notify_owners", "publish_change"),
            )
        ),
        "by tenancy.support_access, tenancy.impersonation_entry and backoffice.impersonations",
    ),
    "tenancy.impersonations.lacks_consent": "by backoffice.impersonations",
    "tenancy.impersonations.build_mail": "a job",
    "tenancy.impersonations.close": "a job",
    "tenancy.permission_holders.list_users": "by tenancy.billing_contacts and outbound_webhooks.pause_notices",
    **dict.fromkeys(
        (f"tenancy.tenant_secrets.{name}" for name in ("read_key", "seal", "unseal")),
        "by the services that have secrets",
    ),
    **{
        f"entitlements.assignments.{name}": "by backoffice.tenant_access and provisioning"
        for name in HOLDINGS
    },
    "backoffice.impact.simulate_publication": "by backoffice.catalog_drafts, for a draft that it has read",
    "billing.sync.apply_state.apply_customer_state": "by billing.sync.customer_sync: what is true at the provider asks nobody",
    "billing.recurring_revenue.record": "by billing.sync.apply_state",
    "billing.trials.find_obstacle": "by billing.subscriptions.overview",
    "billing.trials.has_open_grant": "by backoffice.trial_grants",
    "billing.trials.reserve": "by billing.subscriptions.checkout",
    "billing.trials.check_new_trials": "by billing.sync.apply_state",
    "billing.dunning.notify_contacts": "by billing.trials",
    "tenancy.billing_contacts.list_owner_ids": "by billing.trials",
    "billing.customers.find_id": "by the verbs and pages of billing",
    "billing.dunning.send_due_notices": "a job",
    "billing.dunning.build_mail": "a job",
    "billing.sync.provider_records.write_records": "by billing.sync.apply_state",
    **dict.fromkeys(
        (
            f"billing.subscriptions.checkout.{name}"
            for name in ("list_offers_on_sale", "check_seats", "get_offer_on_sale")
        ),
        "by checkout, changes and overview",
    ),
    **dict.fromkeys(
        (
            f"billing.subscriptions.subscriptions.{name}"
            for name in (
                "get_plan_subscription",
                "list_plan_subscriptions",
                "find_seat_obstacle",
                "get_incomplete_subscription",
            )
        ),
        "by the verbs and pages of billing",
    ),
    "billing.subscriptions.subscriptions.get_snapshot": "by backoffice.tenant_billing",
    "billing.subscriptions.subscriptions.list_records": "by backoffice.tenant_billing",
    "backoffice.flag_admin.parse_rules": "by backoffice.flag_admin and backoffice.flag_exposure",
    "entitlements.rights_cache.get_outlook": "by tenancy.plan_notice",
    "entitlements.rights_cache.get_tenant_layers": "by backoffice.explanations",
    "entitlements.assignments.list_future_snapshots": "by tenancy.access_overview",
    "entitlements.subscription_grants.apply_subscription": "by billing.sync.apply_state",
    "entitlements.subscription_grants.get_granted_status": "by billing.sync.apply_state",
    "entitlements.assignments.get_history": "by backoffice.explanations",
    "offboarding.deletion_notices.notify_owners": "by offboarding.deletions",
    "offboarding.deletions.add": "by offboarding.deletions and backoffice.tenant_deletions",
    "offboarding.deletions.end": "by offboarding.deletions and backoffice.tenant_deletions",
    "offboarding.deletions.finish": "a job",
    "offboarding.deletions.require_scheduled": "by offboarding.deletions and backoffice.tenant_deletions",
    "tenancy.tenants.require_not_ending": "by verbs of billing that buy something",
    "tenancy.onboarding_checklist.add_items": "a step of setting up",
    "tenancy.onboarding_checklist.complete_automatically": "by the service whose work the item is about",
    "backoffice.sign_in_failures.record_failure": "by web.sign_in_records, for an account nobody has signed in to",
    "tenancy.account_events.record": "a job",
    "tenancy.audit_reader.limit_to_retention": "by list_events and tenancy.exports; reads nothing",
    "tenancy.digests.build_mail": "a job",
    "tenancy.digests.find_open_digest_id": "by tenancy.notifications.add",
    "tenancy.digests.record_sent": "a job",
    "tenancy.mail_branding.build_frame": "by jobs that write to somebody",
    "tenancy.mail_preferences.get_preference": "by services and jobs that notify somebody",
    "tenancy.mail_preferences.is_mail_declined": "by jobs that write to somebody",
    "tenancy.mail_preferences.is_mail_enabled": "by jobs that write to somebody",
    "tenancy.notifications.add": "by services and jobs, for somebody else",
    "tenancy.notifications.build_mail": "a job",
    "tenancy.notifications.get_notification": "by jobs, for the mail that goes with it",
    "tenancy.billing_contacts.get_owner_email": "by billing.customers",
    "tenancy.billing_contacts.list_contacts": "by billing.dunning and billing.customers",
    "tenancy.invitations.build_mail": "a job",
    "tenancy.invitations.record_delivery": "a job",
    "tenancy.members.build_access_ended_mail": "a job",
    "tenancy.provisioning.build_welcome_mail": "a job",
    "tenancy.provisioning.add_settings": "by provisioning and test_mode.test_tenants",
    "tenancy.provisioning.start": "by founding",
    "tenancy.provisioning.record_failure": "a job",
    "tenancy.provisioning.enqueue_waiting_steps": "by verifying",
    "tenancy.provisioning.resume": "by retry and backoffice.tenant_directory",
    "tenancy.provisioning.run_next_step": "a job",
    **dict.fromkeys(
        (
            f"tenancy.roles.{name}"
            for name in (
                "get",
                "list_roles",
                "get_name",
                "get_permissions",
                "require_assignable",
                "get_audit_name",
            )
        ),
        "by services and pages, for the roles of what they show or give",
    ),
    "tenancy.seats.has_account_seats": "by services, about the plan; reads nothing",
    "tenancy.seats.count": "by billing, for what it shows and refuses",
    "tenancy.seats.lock_membership": "by members and invitations; a second look under the lock",
    "tenancy.seats.reserve": "by members and invitations; a second look under the lock",
    "tenancy.tenants.lock": "by every verb of billing, after the right",
    "tenancy.tenants.publish_change": "by tenants and logos; tells open pages to load again",
    "backoffice.recent_refusals.find_refusals": "by list_recent and explanations.view_access",
    "tenancy.decision_history.count_usage_at": "by backoffice.explanations and tenancy.own_decisions",
    "tenancy.decision_history.explain_in_tenant": "by backoffice.explanations",
    "tenancy.decision_history.explain_for_subject": "by backoffice.explanations and tenancy.own_decisions",
    "tenancy.decision_history.get_account_subject_at": "by tenancy.own_decisions",
    "tenancy.decision_history.get_token_subject": "by tenancy.own_decisions",
    "tenancy.decision_history.get_job_subject_at": "by tenancy.recorded_decisions",
    "tenancy.recorded_decisions.explain_record": "by tenancy.recorded_decisions",
    "tenancy.recorded_decisions.find_event_decisions": "by tenancy.audit_reader",
    "tenancy.recorded_decisions.search_records": "by tenancy.recorded_decisions and backoffice.explanations",
    "tenancy.decision_history.require_existing": "by tenancy.own_decisions",
    "tenancy.decision_history.get_subject_at": "by backoffice.explanations and tenancy.own_decisions",
    "backoffice.explanation_causes.load_change_window": "by backoffice.explanations",
}


class Undo(Exception):
    """Nothing that is tried here stays."""


async def attack(world: World, report: Report) -> None:
    before, service_calls = world.prints(), [call for call in calls.find() if call.is_service]
    evidence = Evidence(report)
    for name in ASKED_BEFORE.keys() - {call.name for call in service_calls}:
        report.unknown(KIND, f"{name} is no service any more")
    for call in service_calls:
        if call.name in ASKED_BEFORE:
            continue
        report.covers(KIND, call.name)
        try:
            arguments = calls.arguments(call, world, world.acme)
        except KeyError as unknown:
            report.unknown(KIND, f"{call.name}: parameter {unknown}")
            continue
        request_ids.begin()
        async with _able(call, world) as ctx:
            answer = await outcome(call, ctx, arguments)
            works = not _is_refusal(answer)
            await evidence.examine(call, ctx, answer, world.acme)
        report.control(KIND, f"{call.name} by the owner", works=works)
        async with _unable(call, world) as ctx:
            answer = await outcome(call, ctx, arguments)
        report.attempt(KIND, f"{call.name} without any right", refused=_is_refusal(answer))
        if not call.operators and _is_refusal(answer):
            await _lower_roles(call, arguments, answer, world, report)
    evidence.finish()
    report.attempt(KIND, "all of these changed nothing", refused=world.prints() == before)


async def _lower_roles(
    call: Call, arguments: dict[str, Any], refusal: Refused, world: World, report: Report
) -> None:
    """What it asked of somebody without rights, it has to ask of every role that lacks it."""
    (permission,) = {
        action.permission
        for action in ACTIONS.values()
        if f"You don’t have permission to {action.description}." == refusal.detail
    }
    lacking = [role for role in world.roles if permission not in ROLES[role].permissions]
    lacking.sort(key=lambda role: -len(ROLES[role].permissions))  # first the one that may do most
    for role in some(lacking, 2, of=f"roles for {call.name}", always=1):
        async with undone(entry.enter_tenant(world.roles[role].cookie, world.acme_slug)) as ctx:
            refused = _is_refusal(await outcome(call, ctx, arguments))
        report.attempt(KIND, f"{call.name} by a {role}", refused=refused)


def _is_refusal(answer: Any) -> bool:
    """For want of a permission; that somebody may not grant a role comes later and is not enough."""
    named = isinstance(answer, Refused) and answer.detail.startswith("You don’t have permission to ")
    return named and answer.reason == Reason.MISSING_PERMISSION


async def outcome(call: Call, ctx: Ctx | OperatorCtx, arguments: dict[str, Any]) -> Any:
    """What it returns or raises. A bug is no refusal, and where a guard is gone it may come to one."""
    try:
        return await call.fn(ctx, **calls.with_reason(call, ctx, arguments))
    except Exception as problem:
        return problem


@asynccontextmanager
async def undone(entered: Any) -> AsyncIterator[Any]:
    try:
        async with entered as ctx:
            yield ctx
            raise Undo
    except Undo:
        pass


def _able(call: Call, world: World) -> Any:
    if call.operators:
        return undone(entry.enter_operator(world.olga))
    return undone(entry.enter_tenant(world.ann.cookie, world.acme_slug))


@asynccontextmanager
async def _unable(call: Call, world: World) -> AsyncIterator[Any]:
    if call.operators:
        async with undone(entry.enter_operator(world.olga)) as octx:
            yield dataclasses.replace(octx, permissions=frozenset())
    else:
        nobody = Actor("user", world.carl.user.id, "Carl")
        async with undone(entry.enter_invitation(world.acme, nobody)) as ctx:
            yield ctx
