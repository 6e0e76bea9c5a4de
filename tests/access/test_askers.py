"""Jobs and endpoints ask for a decision with their own actor, or say here why they ask for none."""

from shared.access.endpoints import ENDPOINTS
from shared.core import registry
from shared.web.rest import openapi

# Jobs that a decision refuses when they run: they act for whoever asked, with the rights of now.
ASKING_JOBS = {"files.run_export"}
BY_STATE = "does what is due by the records of its tenant, whoever works there"
BY_OPERATOR = "finishes what an operator was allowed and recorded with a reason"
BY_MEMBER = "finishes what a member was allowed and that is recorded"
MAIL = "tells a person what has happened already"
OWN_ACCOUNT = "belongs to no tenant: it is about the person's own account"
JOBS_WITHOUT_ACTION = {
    "backoffice.export_tenant": BY_OPERATOR,
    "billing.adjust": BY_OPERATOR,
    "billing.create_customer": BY_STATE,
    "billing.dun": BY_STATE,
    "billing.end_duplicate": BY_OPERATOR,
    "billing.end_trial": BY_STATE,
    "billing.expire_prepaid": BY_STATE,
    "billing.mail": MAIL,
    "billing.order": BY_OPERATOR,
    "billing.pause_collection": BY_STATE,
    "billing.reconcile": BY_OPERATOR,
    "billing.top_up": BY_MEMBER,
    "billing.undo_unpaid_tax": BY_STATE,
    "files.delete_expired": BY_STATE,
    "metering.check_usage": BY_STATE,
    "metering.close_correction": BY_OPERATOR,
    "metering.recompute_month": BY_OPERATOR,
    "metering.revert_correction": BY_OPERATOR,
    "platform.check_audit_chains": "verifies the chains of all tenants, and returns nothing of them",
    "platform.compare_prices": BY_STATE,
    "platform.complete_factor_reset": OWN_ACCOUNT,
    "platform.disable_user": BY_OPERATOR,
    "platform.enable_user": BY_OPERATOR,
    "platform.found": OWN_ACCOUNT,
    "platform.reconcile": BY_STATE,
    "platform.record_account_event": OWN_ACCOUNT,
    "platform.record_failed_sign_in": OWN_ACCOUNT,
    "platform.request_reset": OWN_ACCOUNT,
    "platform.request_verification": OWN_ACCOUNT,
    "platform.send_account_changed": MAIL,
    "platform.send_account_exists": MAIL,
    "platform.send_factor_reset": MAIL,
    "platform.send_new_device": MAIL,
    "platform.send_alert": MAIL,
    "platform.send_operator_notice": MAIL,
    "platform.send_password_changed": MAIL,
    "platform.send_reset": MAIL,
    "platform.send_verification": MAIL,
    "tenancy.close_impersonation": BY_STATE,
    "tenancy.provision": BY_STATE,
    "tenancy.record_account_event": "adds a line to the audit log, which nobody may refuse",
    "tenancy.send_access_ended": MAIL,
    "tenancy.send_invitation": "an invitation ends with the right of whoever gave it, so the job finds it revoked",
    "tenancy.send_digest": MAIL,
    "tenancy.send_notice": MAIL,
    "tenancy.send_support_notice": MAIL,
    "tenancy.send_welcome": MAIL,
    "tenancy.verify_audit_log": BY_MEMBER,
    "webhook.send_pause_notice": MAIL,
}
ENDPOINTS_WITHOUT_ACTION = {
    "GET /actions": "lists what the code declares, the same for everybody",
    "GET /me": "tells a key about itself",
}


def test_every_job_asks_for_a_decision_or_says_why_not() -> None:
    assert ASKING_JOBS.isdisjoint(JOBS_WITHOUT_ACTION)
    assert ASKING_JOBS | JOBS_WITHOUT_ACTION.keys() == registry.list_tasks().keys()


def test_every_endpoint_asks_for_a_decision_or_says_why_not() -> None:
    without = {f"{each.method} {each.path}" for each in ENDPOINTS if each.action is None}
    assert without == ENDPOINTS_WITHOUT_ACTION.keys()


def test_every_write_of_the_api_documents_the_id_of_its_decision() -> None:
    writes = [each for each in ENDPOINTS if each.action is not None and each.action.writes]
    assert {each.method for each in writes} <= {"DELETE", "PATCH", "POST", "PUT"}
    assert "Decision-Id" in openapi.HEADERS
