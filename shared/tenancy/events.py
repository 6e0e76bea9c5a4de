"""Public events of organisations: members, invitations, roles and settings."""

from shared.access.permissions import Permission
from shared.audit.event_types import AuditAction
from shared.audit.public_events import EventOrder, EventType

MEMBER = {"member_id": "mem_01jdcq2v7yzk3m9x5w8t6r4p1n", "name": "Max Miller"}
INVITATION = {
    "invitation_id": "inv_01jdcq2v7yzk3m9x5w8t6r4p1n",
    "email": "max@example.com",
    "role": "member",
}
ROLE = {"role_id": "rol_01jdcq2v7yzk3m9x5w8t6r4p1n", "name": "Auditor", "permissions": ["member:read"]}
MEMBER_FIELDS = {"member_id": "object_id", "name": "details.member"}

EVENTS = (
    EventType(
        name="invitation.accepted",
        title="A person accepted an invitation",
        action=AuditAction.INVITATION_ACCEPTED,
        permission=Permission.MEMBER_READ,
        fields={"invitation_id": "object_id", "email": "after.email", "role": "after.role"},
        example=INVITATION,
    ),
    EventType(
        name="invitation.created",
        title="A person was invited",
        action=AuditAction.INVITATION_CREATED,
        permission=Permission.MEMBER_READ,
        fields={"invitation_id": "object_id", "email": "after.email", "role": "after.role"},
        example=INVITATION,
    ),
    EventType(
        name="invitation.revoked",
        title="An invitation was revoked",
        action=AuditAction.INVITATION_REVOKED,
        permission=Permission.MEMBER_READ,
        fields={"invitation_id": "object_id", "email": "before.email", "role": "before.role"},
        example=INVITATION,
    ),
    EventType(
        name="member.deactivated",
        title="A member was deactivated",
        action=AuditAction.MEMBERSHIP_DEACTIVATED,
        permission=Permission.MEMBER_READ,
        fields=MEMBER_FIELDS,
        example=MEMBER,
    ),
    EventType(
        name="member.left",
        title="A member left",
        action=AuditAction.MEMBERSHIP_LEFT,
        permission=Permission.MEMBER_READ,
        fields=MEMBER_FIELDS,
        example=MEMBER,
    ),
    EventType(
        name="member.reactivated",
        title="A member was reactivated",
        action=AuditAction.MEMBERSHIP_REACTIVATED,
        permission=Permission.MEMBER_READ,
        fields=MEMBER_FIELDS,
        example=MEMBER,
    ),
    EventType(
        name="member.removed",
        title="A member was removed",
        action=AuditAction.MEMBERSHIP_REMOVED,
        permission=Permission.MEMBER_READ,
        fields=MEMBER_FIELDS,
        example=MEMBER,
    ),
    EventType(
        name="member.role_changed",
        title="A member got another role",
        action=AuditAction.MEMBERSHIP_ROLE_CHANGED,
        permission=Permission.MEMBER_READ,
        fields={**MEMBER_FIELDS, "role": "after.role", "previous_role": "before.role"},
        example={**MEMBER, "role": "admin", "previous_role": "member"},
    ),
    EventType(
        name="organisation.address_changed",
        title="The organisation got another address",
        action=AuditAction.TENANT_SLUG_CHANGED,
        permission=Permission.SETTINGS_READ,
        fields={"slug": "after.slug", "previous_slug": "before.slug"},
        example={"slug": "acme", "previous_slug": "acme-corp"},
        order=EventOrder.TENANT,
    ),
    EventType(
        name="organisation.renamed",
        title="The organisation was renamed",
        action=AuditAction.TENANT_RENAMED,
        permission=Permission.SETTINGS_READ,
        fields={"name": "after.name", "previous_name": "before.name"},
        example={"name": "Acme", "previous_name": "Acme Corporation"},
        order=EventOrder.TENANT,
    ),
    EventType(
        name="role.changed",
        title="A role was changed",
        action=AuditAction.ROLE_CHANGED,
        permission=Permission.ROLE_READ,
        fields={"role_id": "object_id", "name": "after.name", "permissions": "after.permissions"},
        example=ROLE,
    ),
    EventType(
        name="role.created",
        title="A role was created",
        action=AuditAction.ROLE_CREATED,
        permission=Permission.ROLE_READ,
        fields={"role_id": "object_id", "name": "after.name", "permissions": "after.permissions"},
        example=ROLE,
    ),
    EventType(
        name="role.deleted",
        title="A role was deleted",
        action=AuditAction.ROLE_DELETED,
        permission=Permission.ROLE_READ,
        fields={"role_id": "object_id", "name": "before.name"},
        example={"role_id": ROLE["role_id"], "name": "Auditor"},
    ),
)
