"""Every action that needs permission, declared once. Pages, routes, jobs and services refer to these objects."""

from dataclasses import dataclass, field
from typing import Any, NamedTuple

from shared.access.permissions import OperatorPermission, Permission
from shared.access.refusal_codes import Reason
from shared.core import registry
from shared.core.registry import Module


class Requirements(NamedTuple):
    """All that an action requires of what the tenant has: many actions require the same."""

    feature: str
    flag: str
    writes: bool
    allowed_when_unpaid: bool


@dataclass(frozen=True, slots=True)
class Action:
    name: str
    permission: str
    description: str  # completes "You don't have permission to …"
    writes: bool = False
    feature: str = ""  # of `entitlements.features`, that the plan has to include
    limit: str = ""  # asked again with `used=` under the lock
    flag: str = ""  # of `entitlements.flags`, that has to be on for the tenant
    allowed_when_unpaid: bool = False  # possible whatever the plan and the bill: removing, revoking, paying
    allowed_when_unverified: bool = False  # possible before the organisation's address is verified
    allowed_when_suspended: bool = False  # possible while operators have suspended the organisation
    live_only: bool = False  # not in test mode: members, roles, plan and bill belong to the live tenant
    open_to_support: bool = (
        False  # possible for an operator who acts for a member; never secrets, keys or payments
    )
    requirements: Requirements = field(init=False, repr=False, compare=False)  # of the fields above

    def __post_init__(self) -> None:
        requirements = Requirements(self.feature, self.flag, self.writes, self.allowed_when_unpaid)
        object.__setattr__(self, "requirements", requirements)


@dataclass(frozen=True, slots=True)
class OperatorAction:
    name: str
    permission: str
    description: str
    writes: bool = False
    # Carried out only when a second operator has approved it; a manifest's `approvals` say how (`backoffice.approvals`).
    needs_approval: bool = False


ACCESS_READ = Action(
    "access:read",
    Permission.ACCESS_READ,
    "view plan and usage",
    live_only=True,
    open_to_support=True,
)
AUDIT_EXPORT = Action("audit:export", Permission.AUDIT_READ, "export the audit log", feature="exports.csv")
AUDIT_READ = Action(
    "audit:read",
    Permission.AUDIT_READ,
    "view the audit log",
    feature="audit_log",
    open_to_support=True,
)
BILLING_CHANGE = Action(  # paying and giving up are possible whatever the plan and the bill
    "billing:change",
    Permission.BILLING_WRITE,
    "manage the subscription",
    writes=True,
    allowed_when_unpaid=True,
    live_only=True,
)
BILLING_EXPORT = Action(
    "billing:export",
    Permission.BILLING_READ,
    "export the invoices",
    feature="exports.csv",
    live_only=True,
)
BILLING_READ = Action(
    "billing:read",
    Permission.BILLING_READ,
    "view billing",
    live_only=True,
    open_to_support=True,
)
CHECKLIST_WRITE = Action(
    "checklist:write",
    Permission.SETTINGS_WRITE,
    "update the checklist",
    writes=True,
    live_only=True,
    open_to_support=True,
)
DECISION_READ = Action(
    "decision:read",
    Permission.AUDIT_READ,
    "view decisions",
    open_to_support=True,
)
HOME_READ = Action(
    "home:read",
    Permission.HOME_READ,
    "open this organisation",
    open_to_support=True,
)
INVITATION_READ = Action(
    "invitation:read",
    Permission.MEMBER_READ,
    "view invitations",
    live_only=True,
    open_to_support=True,
)
INVITATION_REVOKE = Action(
    "invitation:revoke",
    Permission.MEMBER_INVITE,
    "revoke invitations",
    writes=True,
    allowed_when_unpaid=True,
    live_only=True,
)
MEMBER_DEACTIVATE = Action(
    "member:deactivate",
    Permission.MEMBER_WRITE,
    "deactivate members",
    writes=True,
    allowed_when_unpaid=True,
    live_only=True,
)
MEMBER_EXPORT = Action(
    "member:export",
    Permission.MEMBER_READ,
    "export the list of members",
    feature="exports.csv",
    live_only=True,
)
MEMBER_INVITE = Action(
    "member:invite",
    Permission.MEMBER_INVITE,
    "invite people",
    writes=True,
    limit="members",
    live_only=True,
)
MEMBER_LEAVE = Action(  # for oneself, so it needs no more than being a member
    "member:leave",
    Permission.HOME_READ,
    "leave this organisation",
    writes=True,
    allowed_when_unpaid=True,
    allowed_when_unverified=True,
    allowed_when_suspended=True,
    live_only=True,
)
MEMBER_READ = Action(
    "member:read",
    Permission.MEMBER_READ,
    "view members",
    live_only=True,
    open_to_support=True,
)
MEMBER_REMOVE = Action(
    "member:remove",
    Permission.MEMBER_WRITE,
    "remove members",
    writes=True,
    allowed_when_unpaid=True,
    live_only=True,
)
MEMBER_SET_ROLE = Action(  # taking rights away must not wait for a payment, and giving some costs nothing
    "member:set_role",
    Permission.MEMBER_WRITE,
    "change member roles",
    writes=True,
    allowed_when_unpaid=True,
    live_only=True,
)
NOTIFICATION_READ = Action(
    "notification:read", Permission.NOTIFICATION_READ, "view notifications", live_only=True
)
OWNER_TRANSFER = Action(
    "owner:transfer", Permission.OWNER_TRANSFER, "transfer ownership", writes=True, live_only=True
)
REPORT_READ = Action(
    "report:read",
    Permission.REPORT_READ,
    "view advanced reports",
    feature="advanced_reports",
    live_only=True,
    open_to_support=True,
)
ROLE_CHANGE = Action(
    "role:change",
    Permission.ROLE_WRITE,
    "change roles",
    writes=True,
    feature="custom_roles",
    flag="role_editor",
    live_only=True,
)
ROLE_CREATE = Action(
    "role:create",
    Permission.ROLE_WRITE,
    "create roles",
    writes=True,
    feature="custom_roles",
    limit="roles",
    flag="role_editor",
    live_only=True,
)
ROLE_DELETE = Action(
    "role:delete",
    Permission.ROLE_WRITE,
    "delete roles",
    writes=True,
    allowed_when_unpaid=True,
    live_only=True,
)
ROLE_READ = Action(
    "role:read",
    Permission.ROLE_READ,
    "view roles",
    live_only=True,
    open_to_support=True,
)
SERVICE_ACCOUNT_END = Action(
    "service_account:end",
    Permission.SERVICE_ACCOUNT_WRITE,
    "delete service accounts",
    writes=True,
    allowed_when_unpaid=True,
    live_only=True,
)
SERVICE_ACCOUNT_READ = Action(
    "service_account:read",
    Permission.SERVICE_ACCOUNT_READ,
    "view service accounts",
    live_only=True,
)
SERVICE_ACCOUNT_TAKE_SEAT = Action(  # asked where the plan counts service accounts as seats
    "service_account:take_seat",
    Permission.SERVICE_ACCOUNT_WRITE,
    "add service accounts to the seats in use",
    writes=True,
    limit="members",
)
SERVICE_ACCOUNT_WRITE = Action(
    "service_account:write",
    Permission.SERVICE_ACCOUNT_WRITE,
    "manage service accounts",
    writes=True,
    feature="api_access",
    live_only=True,
)
SETTINGS_READ = Action(
    "settings:read",
    Permission.SETTINGS_READ,
    "view settings",
    live_only=True,
    open_to_support=True,
)
SETTINGS_SETUP = Action(
    "settings:setup",
    Permission.SETTINGS_WRITE,
    "set up this organisation",
    writes=True,
    allowed_when_unverified=True,
    live_only=True,
)
SETTINGS_WRITE = Action(
    "settings:write",
    Permission.SETTINGS_WRITE,
    "change settings",
    writes=True,
    live_only=True,
    open_to_support=True,
)
SUPPORT_ACCESS_DECIDE = Action(
    "support_access:decide",
    Permission.SUPPORT_ACCESS_DECIDE,
    "decide about support access",
    writes=True,
    allowed_when_unpaid=True,
    live_only=True,
)
SUPPORT_ACCESS_READ = Action(
    "support_access:read", Permission.SUPPORT_ACCESS_READ, "view support access", live_only=True
)

OP_ACCOUNT_WRITE = OperatorAction(
    "op:account:write",
    OperatorPermission.ACCOUNT_WRITE,
    "manage Stripe accounts",
    writes=True,
)
OP_ALERT_SUBSCRIBE = OperatorAction(
    "op:alert:subscribe", OperatorPermission.HEALTH_READ, "get mail about alerts", writes=True
)
OP_API_KEY_READ = OperatorAction(
    "op:api_key:read", OperatorPermission.API_KEY_WRITE, "view operators’ API keys"
)
OP_API_KEY_WRITE = OperatorAction(
    "op:api_key:write", OperatorPermission.API_KEY_WRITE, "manage operators’ API keys", writes=True
)
OP_APPROVAL_DECIDE = OperatorAction(
    "op:approval:decide", OperatorPermission.APPROVAL_DECIDE, "decide about requests", writes=True
)
OP_APPROVAL_READ = OperatorAction(
    "op:approval:read", OperatorPermission.APPROVAL_READ, "view requests for approval"
)
OP_AUDIT_READ_ALL = OperatorAction(
    "op:audit:read_all", OperatorPermission.AUDIT_READ_ALL, "view the audit logs of all tenants"
)
OP_BILLING_ADJUST = OperatorAction(
    "op:billing:adjust", OperatorPermission.BILLING_ADJUST, "adjust balances", writes=True
)
OP_BILLING_ADJUST_ANY = OperatorAction(
    "op:billing:adjust_any",
    OperatorPermission.BILLING_ADJUST_ANY,
    "make adjustments this large",
    writes=True,
)
OP_BILLING_READ = OperatorAction(
    "op:billing:read", OperatorPermission.BILLING_READ, "view the billing of tenants"
)
OP_BILLING_RECONCILE = OperatorAction(
    "op:billing:reconcile",
    OperatorPermission.BILLING_RECONCILE,
    "compare billing with Stripe",
    writes=True,
)
OP_CATALOG_PUBLISH = OperatorAction(
    "op:catalog:publish",
    OperatorPermission.CATALOG_WRITE,
    "publish plans and add-ons",
    writes=True,
    needs_approval=True,
)
OP_CATALOG_READ = OperatorAction("op:catalog:read", OperatorPermission.CATALOG_READ, "view plans and add-ons")
OP_CATALOG_WRITE = OperatorAction(
    "op:catalog:write", OperatorPermission.CATALOG_WRITE, "change plans and add-ons", writes=True
)
OP_FINANCE_READ = OperatorAction("op:finance:read", OperatorPermission.FINANCE_READ, "view revenue")
OP_FLAG_READ = OperatorAction("op:flag:read", OperatorPermission.FLAG_READ, "view flags")
OP_FLAG_RELEASE = OperatorAction(
    "op:flag:release",
    OperatorPermission.FLAG_WRITE,
    "turn flags on for everyone",
    writes=True,
    needs_approval=True,
)
OP_FLAG_WRITE = OperatorAction("op:flag:write", OperatorPermission.FLAG_WRITE, "change flags", writes=True)
OP_HEALTH_READ = OperatorAction(
    "op:health:read", OperatorPermission.HEALTH_READ, "view the health of the platform"
)
OP_HOME_READ = OperatorAction("op:home:read", OperatorPermission.HOME_READ, "open the admin app")
OP_IMPERSONATE = OperatorAction(
    "op:impersonate", OperatorPermission.IMPERSONATE, "act for members of tenants", writes=True
)
OP_IMPERSONATE_WRITE = OperatorAction(
    "op:impersonate:write",
    OperatorPermission.IMPERSONATE_WRITE,
    "change something for members of tenants",
    writes=True,
    needs_approval=True,
)
OP_JOB_READ = OperatorAction("op:job:read", OperatorPermission.JOB_READ, "view jobs")
OP_JOB_WRITE = OperatorAction(
    "op:job:write", OperatorPermission.JOB_WRITE, "retry and drop jobs", writes=True
)
OP_KEY_ROTATE = OperatorAction(
    "op:key:rotate", OperatorPermission.KEY_ROTATE, "rotate tenant keys", writes=True
)
OP_LOAD_READ = OperatorAction("op:load:read", OperatorPermission.JOB_READ, "view what tenants cost")
OP_MAIL_LIFT = OperatorAction(
    "op:mail:lift", OperatorPermission.MAIL_LIFT, "send mail to suppressed addresses again", writes=True
)
OP_MAIL_READ = OperatorAction("op:mail:read", OperatorPermission.MAIL_READ, "view suppressed addresses")
OP_OPERATOR_MANAGE = OperatorAction(
    "op:operator:manage", OperatorPermission.OPERATOR_WRITE, "manage operators", writes=True
)
OP_OPERATOR_READ = OperatorAction("op:operator:read", OperatorPermission.OPERATOR_READ, "view operators")
OP_PRICE_SET = OperatorAction(
    "op:price:set", OperatorPermission.CATALOG_WRITE, "set prices", writes=True, needs_approval=True
)
OP_RIGHTS_EXPLAIN = OperatorAction(
    "op:rights:explain", OperatorPermission.RIGHTS_EXPLAIN, "explain permission decisions"
)
OP_RIGHTS_WRITE = OperatorAction(
    "op:rights:write",
    OperatorPermission.RIGHTS_WRITE,
    "change plans, add-ons and overrides of tenants",
    writes=True,
)
OP_SECURITY_READ = OperatorAction(
    "op:security:read", OperatorPermission.SECURITY_READ, "view security events"
)
OP_TENANT_CREATE = OperatorAction(
    "op:tenant:create", OperatorPermission.TENANT_CREATE, "create tenants", writes=True
)
OP_TENANT_DELETE = OperatorAction(
    "op:tenant:delete",
    OperatorPermission.TENANT_DELETE,
    "delete tenants",
    writes=True,
    needs_approval=True,
)
OP_TENANT_EXPORT = OperatorAction(
    "op:tenant:export", OperatorPermission.TENANT_EXPORT, "export all data of tenants", writes=True
)
OP_TENANT_KEEP = OperatorAction(
    "op:tenant:keep", OperatorPermission.TENANT_DELETE, "cancel the deletion of tenants", writes=True
)
OP_TENANT_LIST = OperatorAction("op:tenant:list", OperatorPermission.TENANT_READ, "list tenants")
OP_TENANT_READ = OperatorAction("op:tenant:read", OperatorPermission.TENANT_READ, "open a tenant")
OP_TENANT_RESUME = OperatorAction(
    "op:tenant:resume", OperatorPermission.TENANT_RESUME, "retry provisioning", writes=True
)
OP_TENANT_SUSPEND = OperatorAction(
    "op:tenant:suspend", OperatorPermission.TENANT_SUSPEND, "suspend tenants", writes=True
)
OP_TENANT_THROTTLE = OperatorAction(
    "op:tenant:throttle", OperatorPermission.TENANT_THROTTLE, "limit the rate of tenants", writes=True
)
OP_USAGE_CORRECT = OperatorAction(
    "op:usage:correct", OperatorPermission.USAGE_CORRECT, "correct and recompute usage", writes=True
)
OP_USER_DISABLE = OperatorAction(
    "op:user:disable", OperatorPermission.USER_DISABLE, "disable user accounts", writes=True
)
OP_USER_READ_RESETS = OperatorAction(
    "op:user:read_resets", OperatorPermission.USER_RESET_FACTOR, "view requests to reset second factors"
)
OP_USER_RESET_FACTOR = OperatorAction(
    "op:user:reset_factor",
    OperatorPermission.USER_RESET_FACTOR,
    "reset second factors",
    writes=True,
)
OP_WEBHOOK_READ = OperatorAction("op:webhook:read", OperatorPermission.WEBHOOK_READ, "view webhooks")
OP_WEBHOOK_REPLAY = OperatorAction(
    "op:webhook:replay", OperatorPermission.WEBHOOK_REPLAY, "replay webhooks", writes=True
)

# Every action by its name, alphabetical: the ones of all manifests.
ACTIONS: dict[str, Action] = {}
OPERATOR_ACTIONS: dict[str, OperatorAction] = {}


def list_support_reasons(*, can_write: bool) -> dict[str, str]:
    """The actions that are refused to an operator who acts for a member, by name, with the reason."""
    reasons = {
        name: Reason.SUPPORT_CLOSED.value for name, action in ACTIONS.items() if not action.open_to_support
    }
    if not can_write:
        reasons |= {
            name: Reason.SUPPORT_READ_ONLY.value
            for name, action in ACTIONS.items()
            if action.open_to_support and action.writes
        }
    return reasons


def list_support_permissions() -> frozenset[str]:
    """The fixed set of permissions that an operator who acts for a member can have at most."""
    return frozenset(action.permission for action in ACTIONS.values() if action.open_to_support)


def list_live_only_reasons() -> dict[str, str]:
    """The actions that test mode refuses, by name, with the reason."""
    return {name: Reason.TEST_MODE.value for name, action in ACTIONS.items() if action.live_only}


@registry.each_module
def _add_actions(module: Module) -> None:
    for action in module.actions:
        known: dict[str, Any] = OPERATOR_ACTIONS if isinstance(action, OperatorAction) else ACTIONS
        known[action.name] = action
    for actions_by_name in (ACTIONS, OPERATOR_ACTIONS):
        _sort(actions_by_name)


def _sort(actions_by_name: dict[str, Any]) -> None:
    """In place: others hold the same dictionary."""
    in_order = sorted(actions_by_name.items())
    actions_by_name.clear()
    actions_by_name.update(in_order)
