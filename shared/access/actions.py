"""What people may want to do, declared once. Pages, routes, jobs and services name these and nothing else."""

from dataclasses import dataclass

from shared.access.permissions import OperatorPermission, Permission


@dataclass(frozen=True, slots=True)
class Action:
    name: str
    permission: Permission
    said: str  # completes "You may not …"
    writes: bool = False
    limit: str = ""  # asked again with `used=` under the lock
    unverified_ok: bool = False  # possible before the organisation's address is verified


@dataclass(frozen=True, slots=True)
class OperatorAction:
    name: str
    permission: OperatorPermission
    said: str
    writes: bool = False


AUDIT_READ = Action("audit:read", Permission.AUDIT_READ, "read the audit trail")
BILLING_READ = Action("billing:read", Permission.BILLING_READ, "see billing")
CHECKLIST_WRITE = Action("checklist:write", Permission.SETTINGS_WRITE, "change the checklist", writes=True)
HOME_READ = Action("home:read", Permission.HOME_READ, "open this organisation")
INVITATION_READ = Action("invitation:read", Permission.MEMBER_READ, "see invitations")
MEMBER_DEACTIVATE = Action("member:deactivate", Permission.MEMBER_WRITE, "deactivate members", writes=True)
MEMBER_INVITE = Action(
    "member:invite", Permission.MEMBER_INVITE, "invite people", writes=True, limit="members"
)
MEMBER_READ = Action("member:read", Permission.MEMBER_READ, "see who works here")
MEMBER_REMOVE = Action("member:remove", Permission.MEMBER_WRITE, "remove members", writes=True)
MEMBER_SET_ROLE = Action("member:set_role", Permission.MEMBER_WRITE, "change roles", writes=True)
NOTIFICATION_READ = Action("notification:read", Permission.NOTIFICATION_READ, "read notifications")
OWNER_TRANSFER = Action("owner:transfer", Permission.OWNER_TRANSFER, "transfer ownership", writes=True)
ROLE_READ = Action("role:read", Permission.ROLE_READ, "see roles")
SETTINGS_READ = Action("settings:read", Permission.SETTINGS_READ, "see the settings")
SETTINGS_SETUP = Action(
    "settings:setup", Permission.SETTINGS_WRITE, "set up this organisation", writes=True, unverified_ok=True
)
SETTINGS_WRITE = Action("settings:write", Permission.SETTINGS_WRITE, "change the settings", writes=True)

OP_AUDIT_READ_ALL = OperatorAction(
    "op:audit:read_all", OperatorPermission.AUDIT_READ_ALL, "read every tenant's trail"
)
OP_HOME_READ = OperatorAction("op:home:read", OperatorPermission.HOME_READ, "open the admin app")
OP_JOB_READ = OperatorAction("op:job:read", OperatorPermission.JOB_READ, "see jobs")
OP_KEY_ROTATE = OperatorAction(
    "op:key:rotate", OperatorPermission.KEY_ROTATE, "rotate the keys of tenants", writes=True
)
OP_OPERATOR_MANAGE = OperatorAction(
    "op:operator:manage", OperatorPermission.OPERATOR_WRITE, "manage operators", writes=True
)
OP_OPERATOR_READ = OperatorAction("op:operator:read", OperatorPermission.OPERATOR_READ, "see operators")
OP_SECURITY_READ = OperatorAction("op:security:read", OperatorPermission.SECURITY_READ, "see security events")
OP_TENANT_LIST = OperatorAction("op:tenant:list", OperatorPermission.TENANT_READ, "list tenants")
OP_TENANT_READ = OperatorAction("op:tenant:read", OperatorPermission.TENANT_READ, "look into a tenant")
OP_TENANT_RESUME = OperatorAction(
    "op:tenant:resume", OperatorPermission.TENANT_RESUME, "run provisioning again", writes=True
)
OP_TENANT_SUSPEND = OperatorAction(
    "op:tenant:suspend", OperatorPermission.TENANT_SUSPEND, "suspend tenants", writes=True
)
OP_USER_DISABLE = OperatorAction(
    "op:user:disable", OperatorPermission.USER_DISABLE, "disable people's accounts", writes=True
)

ACTIONS = {one.name: one for one in tuple(globals().values()) if isinstance(one, Action)}
OPERATOR_ACTIONS = {one.name: one for one in tuple(globals().values()) if isinstance(one, OperatorAction)}
