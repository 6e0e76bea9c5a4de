"""Events of the audit log as OCSF 1.6 (https://schema.ocsf.io/1.6.0), the format that SIEMs understand.

Sign-ins are Authentication, changes of an account Account Change, and everything else API Activity. `unmapped.bulkhead` has
the link of the hash chain with the record that it is made of: docs/verify_audit_export.py verifies what has arrived.
"""

import base64
from datetime import datetime
from typing import Any

from shared.audit.event_types import AUDIT_TEXTS, RESULT_KEY, AuditResult
from shared.evidence.chain_repository import ChainLink

VERSION = "1.6.0"
API_ACTIVITY, ACCOUNT_CHANGE, AUTHENTICATION = 6003, 3001, 3002
OTHER = 99  # of activities
CREATE, READ, UPDATE, DELETE = 1, 2, 3, 4  # of API Activity
CLASSES = {  # action: class and activity, where it is no API Activity
    "factor.disabled": (ACCOUNT_CHANGE, 11),  # MFA Factor Disable
    "factor.enrolled": (ACCOUNT_CHANGE, 10),  # MFA Factor Enable
    "factor.reset": (ACCOUNT_CHANGE, 11),
    "membership.deactivated": (ACCOUNT_CHANGE, 5),  # Disable
    "membership.reactivated": (ACCOUNT_CHANGE, 2),  # Enable
    "membership.removed": (ACCOUNT_CHANGE, 6),  # Delete
    "membership.role_changed": (ACCOUNT_CHANGE, 7),  # Attach Policy
    "password.changed": (ACCOUNT_CHANGE, 3),  # Password Change
    "session.ended": (AUTHENTICATION, 2),  # Logoff
    "session.failed": (AUTHENTICATION, 1),  # Logon
    "session.started": (AUTHENTICATION, 1),
}
ACTIVITIES = {  # by the last words of an action
    **dict.fromkeys(("added", "created", "enrolled", "granted", "started", "uploaded", "accepted"), CREATE),
    **dict.fromkeys(("exported", "looked"), READ),
    **dict.fromkeys(("changed", "renamed", "set", "assigned", "rotated", "paused", "resumed"), UPDATE),
    **dict.fromkeys(("deleted", "ended", "removed", "revoked"), DELETE),
}
FAILED_ACTIONS = frozenset({"session.failed"})
SUCCESS, FAILURE = 1, 2  # of status_id
INFORMATIONAL, MEDIUM = 1, 3  # of severity_id


def build_event(tenant_id: str, link: ChainLink) -> dict[str, Any]:
    """The event of a link. Its readable part is empty where the event is missing."""
    action = link.action or ""
    class_uid, activity = _classify(action)
    has_failed = _has_failed(action, link.details or {})
    actor: dict[str, Any] = {"uid": link.actor_id or "", "name": link.actor_name or ""}
    event: dict[str, Any] = {
        **_build_class(class_uid, activity),
        "time": _to_milliseconds(link.at),
        "severity_id": MEDIUM if has_failed else INFORMATIONAL,
        "status_id": FAILURE if has_failed else SUCCESS,
        "message": _describe(link),
        "actor": {"user": {**actor, "type": link.actor_type or ""}},
        "metadata": {
            "version": VERSION,
            "uid": link.id or "",
            "event_code": action,
            "correlation_uid": link.request_id or "",
            "tenant_uid": tenant_id,
            "sequence": link.number,
            "product": {"name": "Bulkhead", "vendor_name": "Bulkhead"},
        },
        "unmapped": {"bulkhead": build_link(link)},
    }
    if class_uid == API_ACTIVITY:
        event |= {
            "api": {"operation": action, "request": {"uid": link.request_id or ""}},
            "resources": [{"uid": link.object_id or ""}],
            "src_endpoint": {"name": "not recorded"},
        }
    else:
        event["user"] = {"uid": link.object_id or link.actor_id or "", "name": actor["name"]}
    return event


def build_test_event(tenant_id: str, stream_id: str, *, at: datetime) -> dict[str, Any]:
    """An event that is in no chain."""
    return {
        **_build_class(API_ACTIVITY, OTHER),
        "time": _to_milliseconds(at),
        "severity_id": INFORMATIONAL,
        "status_id": SUCCESS,
        "message": "Test event of the audit log stream",
        "actor": {"user": {"uid": "", "name": "Bulkhead", "type": "job"}},
        "api": {"operation": "audit_stream.tested"},
        "src_endpoint": {"name": "not recorded"},
        "metadata": {
            "version": VERSION,
            "uid": stream_id,
            "event_code": "audit_stream.tested",
            "tenant_uid": tenant_id,
            "product": {"name": "Bulkhead", "vendor_name": "Bulkhead"},
        },
        "unmapped": {"bulkhead": {"test": True}},
    }


def build_link(link: ChainLink) -> dict[str, Any]:
    """The place in the hash chain, and the record whose hash it has."""
    return {
        "number": link.number,
        "previous_hash": link.previous_hash.hex(),
        "event_hash": link.event_hash.hex(),
        "chain_hash": link.chain_hash.hex(),
        "record": base64.b64encode(link.record.encode()).decode(),
    }


def _build_class(class_uid: int, activity: int) -> dict[str, int]:
    return {
        "category_uid": class_uid // 1000,
        "class_uid": class_uid,
        "activity_id": activity,
        "type_uid": class_uid * 100 + activity,
    }


def _classify(action: str) -> tuple[int, int]:
    if action in CLASSES:
        return CLASSES[action]
    return API_ACTIVITY, ACTIVITIES.get(action.rpartition(".")[2].rpartition("_")[2], OTHER)


def _has_failed(action: str, details: dict[str, Any]) -> bool:
    return action in FAILED_ACTIONS or details.get(RESULT_KEY) in (AuditResult.DENIED, AuditResult.FAILED)


def _describe(link: ChainLink) -> str:
    text = AUDIT_TEXTS.get(link.action or "")
    return f"{link.actor_name} {text.text}" if text is not None else link.action or "Deleted event"


def _to_milliseconds(at: datetime | None) -> int:
    return round(at.timestamp() * 1000) if at is not None else 0
