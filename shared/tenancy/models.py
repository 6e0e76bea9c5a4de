"""Tables of the tenancy module: tenants, members, invitations, roles, settings, provisioning and notifications.

`TenantRow` supplies `tenant_id`, so the primary key of its tables is (tenant_id, id). The row security of `tenant`
uses its id. Rows of former members are kept.
"""

from datetime import datetime
from enum import StrEnum
from typing import Any

from sqlalchemy import ARRAY, Column, FetchedValue, LargeBinary, Text
from sqlmodel import Field, SQLModel

from shared.core.db import TenantRow, now, text_enum, timestamptz
from shared.core.ids import new_id
from shared.core.versions import Versioned


def _database_text() -> Any:
    """A column that only the database writes."""
    return Column(Text, FetchedValue(), nullable=False)


class TenantState(StrEnum):
    PENDING_VERIFICATION = "pending_verification"
    ACTIVE = "active"
    SUSPENDED = "suspended"
    DELETED = "deleted"


class TenantMode(StrEnum):
    LIVE = "live"
    TEST = "test"  # the sibling of a live tenant: data of its own, no money


class MembershipState(StrEnum):
    ACTIVE = "active"
    DEACTIVATED = "deactivated"
    REMOVED = "removed"


class InvitationStatus(StrEnum):
    PENDING = "pending"
    ACCEPTED = "accepted"
    REVOKED = "revoked"


class StepState(StrEnum):
    WAITING = "waiting"
    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"


class Tenant(Versioned, table=True):
    __tablename__ = "tenant"

    id: str = Field(default_factory=lambda: new_id("ten"), primary_key=True)
    slug: str = Field(unique=True)  # part of URLs; the only value that is unique across tenants
    name: str
    state: TenantState = Field(default=TenantState.PENDING_VERIFICATION, sa_type=text_enum(TenantState))
    state_reason: str = ""  # of operators; the audit log has it too
    suspension_message: str = ""  # what members read while the tenant is suspended
    created_at: datetime = Field(default_factory=now, sa_type=timestamptz())
    # Incremented by triggers when the tenant's rights change. Cached rights with another number are stale.
    rights_version: int = 0
    mode: TenantMode = Field(default=TenantMode.LIVE, sa_type=text_enum(TenantMode))
    live_tenant_id: str | None = None  # of a test tenant: whose members and plan it has
    live_tenant_mode: str | None = None  # "live" of a test tenant, for the foreign key
    deletion_at: datetime | None = Field(default=None, sa_type=timestamptz())  # while one is scheduled


class FormerSlug(TenantRow, table=True):
    """An address that the tenant has left, as `id`: it leads members to the present one, and no other tenant can take it."""

    __tablename__ = "former_slug"

    id: str = Field(primary_key=True)
    kept_until: datetime = Field(sa_type=timestamptz())


class TenantHost(TenantRow, table=True):
    """A host of the tenant's own, as `id`. Only a verified one leads anywhere, and belongs to one tenant."""

    __tablename__ = "tenant_host"

    id: str = Field(primary_key=True)  # in lower case, without port
    verified_at: datetime | None = Field(default=None, sa_type=timestamptz())
    created_at: datetime = Field(default_factory=now, sa_type=timestamptz())


class SignUp(SQLModel, table=True):
    """A submitted sign-up, until a job has processed it. Global, because there is no tenant yet."""

    __tablename__ = "sign_up"

    id: str = Field(default_factory=lambda: new_id("sup"), primary_key=True)
    email: str
    name: str
    organisation: str
    password_hash: str
    created_at: datetime = Field(default_factory=now, sa_type=timestamptz())


class RoleRow(Versioned, TenantRow, table=True):
    """A role of this tenant. The permissions of built-in roles are in `access.roles`.

    Memberships refer to `key`, which is the id of a custom role. Deleted roles are kept for former members.
    """

    __tablename__ = "role"

    id: str = Field(default_factory=lambda: new_id("rol"), primary_key=True)
    key: str
    name: str
    builtin: bool = True
    sentence: str = ""
    permissions: list[str] = Field(default_factory=list, sa_type=ARRAY(Text))
    created_at: datetime = Field(default_factory=now, sa_type=timestamptz())
    deleted_at: datetime | None = Field(default=None, sa_type=timestamptz())


class Membership(Versioned, TenantRow, table=True):
    __tablename__ = "membership"

    id: str = Field(default_factory=lambda: new_id("mem"), primary_key=True)
    user_id: str = Field(foreign_key="user.id")
    role: str  # foreign key (tenant_id, role) -> role(tenant_id, key)
    state: MembershipState = Field(default=MembershipState.ACTIVE, sa_type=text_enum(MembershipState))
    created_at: datetime = Field(default_factory=now, sa_type=timestamptz())
    ended_at: datetime | None = Field(default=None, sa_type=timestamptz())  # while deactivated or removed
    ended_by: str = ""  # name of the person at that time
    ended_by_self: bool = False  # the member has left
    seen_at: datetime | None = Field(default=None, sa_type=timestamptz())
    # Kept by triggers, from the user's name and address; lists are ordered and searched by them.
    name_key: str | None = Field(default=None, sa_column=_database_text())
    search_text: str | None = Field(default=None, sa_column=_database_text())


class ServiceAccount(Versioned, TenantRow, table=True):
    """A member without a person: programs use its keys. It outlives whoever made it."""

    __tablename__ = "service_account"

    id: str = Field(default_factory=lambda: new_id("sac"), primary_key=True)
    name: str
    role: str  # foreign key (tenant_id, role) -> role(tenant_id, key)
    created_by: str  # id of the actor
    created_by_name: str
    created_at: datetime = Field(default_factory=now, sa_type=timestamptz())
    ended_at: datetime | None = Field(default=None, sa_type=timestamptz())
    ended_by: str = ""  # name of the person at that time


class Invitation(TenantRow, table=True):
    """A pending invitation uses a seat. Its link is a signature over tenant, id and `nonce`; a new nonce invalidates it."""

    __tablename__ = "invitation"

    id: str = Field(default_factory=lambda: new_id("inv"), primary_key=True)
    email: str
    role: str
    status: InvitationStatus = Field(default=InvitationStatus.PENDING, sa_type=text_enum(InvitationStatus))
    nonce: int = 1
    invited_by: str  # id of the user or the service account
    invited_by_name: str
    expires_at: datetime = Field(sa_type=timestamptz())
    sent_nonce: int = 0  # the nonce of the last email sent
    delivery_problem: str = ""  # the mail server's reply when it refused the last email for good
    membership_id: str | None = None  # set when accepted
    created_at: datetime = Field(default_factory=now, sa_type=timestamptz())
    ended_at: datetime | None = Field(default=None, sa_type=timestamptz())


class TenantSettings(Versioned, TenantRow, table=True):
    """One row per tenant. `colour` is "" or "#rrggbb"."""

    __tablename__ = "tenant_settings"

    id: str = Field(default="settings", primary_key=True)
    colour: str = ""
    logo: bytes | None = Field(default=None, sa_type=LargeBinary)  # PNG, re-encoded by us
    logo_digest: str = ""  # sha256 of `logo`; part of its URL, so that browsers may cache it
    onboarded_at: datetime | None = Field(default=None, sa_type=timestamptz())
    support_consent: bool = False  # an owner has to agree before an operator acts for a member
    changed_at: datetime = Field(default_factory=now, sa_type=timestamptz())


class ProvisioningStep(TenantRow, table=True):
    __tablename__ = "provisioning_step"

    id: str = Field(default_factory=lambda: new_id("stp"), primary_key=True)
    key: str
    position: int
    state: StepState = Field(default=StepState.WAITING, sa_type=text_enum(StepState))
    attempts: int = 0
    error: str = ""
    started_at: datetime | None = Field(default=None, sa_type=timestamptz())
    finished_at: datetime | None = Field(default=None, sa_type=timestamptz())


class ChecklistItem(TenantRow, table=True):
    __tablename__ = "checklist_item"

    id: str = Field(default_factory=lambda: new_id("chk"), primary_key=True)
    key: str
    position: int
    done_at: datetime | None = Field(default=None, sa_type=timestamptz())
    done_by: str = ""


class Notification(TenantRow, table=True):
    """For one member. `dedupe` prevents duplicates when a job runs twice."""

    __tablename__ = "notification"

    id: str = Field(default_factory=lambda: new_id("ntf"), primary_key=True)
    user_id: str = Field(foreign_key="user.id")
    kind: str
    title: str
    body: str
    href: str = ""  # name of a page, such as "billing"; in older rows its path with a slug
    dedupe: str
    created_at: datetime = Field(default_factory=now, sa_type=timestamptz())
    read_at: datetime | None = Field(default=None, sa_type=timestamptz())
    in_app: bool = True  # False: the person has turned it off there; a mail may still go with it
    digest_id: str = ""  # of the digest that mails it; "" for none


class NotificationDigest(TenantRow, table=True):
    """The mail that tells a member once a day what has happened. Nothing is added to it after `closed_at`."""

    __tablename__ = "notification_digest"

    id: str = Field(default_factory=lambda: new_id("dig"), primary_key=True)
    user_id: str = Field(foreign_key="user.id")
    due_at: datetime = Field(sa_type=timestamptz())
    created_at: datetime = Field(default_factory=now, sa_type=timestamptz())
    closed_at: datetime | None = Field(default=None, sa_type=timestamptz())
    sent_at: datetime | None = Field(default=None, sa_type=timestamptz())


class MailPreference(TenantRow, table=True):
    """What a member chose for one kind of notification. Without a row, the kind's defaults hold."""

    __tablename__ = "mail_preference"

    id: str = Field(default_factory=lambda: new_id("mch"), primary_key=True)
    user_id: str = Field(foreign_key="user.id")
    kind: str
    enabled: bool  # by mail, at once or in the digest
    digest: bool = False
    in_app: bool = True
    changed_at: datetime = Field(default_factory=now, sa_type=timestamptz())


class TenantKey(TenantRow, table=True):
    """The data key of a tenant, wrapped by a master key. Destroying it erases the tenant's secrets everywhere."""

    __tablename__ = "tenant_key"

    id: str = Field(default="dek", primary_key=True)
    kek_id: int
    wrapped: bytes = Field(sa_type=LargeBinary)
    created_at: datetime = Field(default_factory=now, sa_type=timestamptz())


class Consent(StrEnum):
    NOT_NEEDED = "not_needed"
    PENDING = "pending"
    GIVEN = "given"
    DECLINED = "declined"


class ImpersonationEnd(StrEnum):
    OPERATOR = "operator"  # the operator ended it
    OWNER = "owner"
    EXPIRED = "expired"  # also when the operator lost the right to it
    UNUSED = "unused"  # it never began


class ImpersonationRow(TenantRow, table=True):
    """An operator who acts for a member, or asks to. What was stated is never changed; a trigger refuses it."""

    __tablename__ = "impersonation"

    id: str = Field(default_factory=lambda: new_id("imp"), primary_key=True)
    operator_id: str
    operator_name: str
    user_id: str = Field(foreign_key="user.id")
    user_name: str
    reason: str
    ticket: str
    minutes: int
    can_write: bool = False
    write_reason: str = ""  # why it may change something
    consent: Consent = Field(sa_type=text_enum(Consent))
    decided_by: str = ""
    decided_by_name: str = ""
    decided_at: datetime | None = Field(default=None, sa_type=timestamptz())
    created_at: datetime = Field(default_factory=now, sa_type=timestamptz())
    operator_session_hash: str = Field(default="", repr=False)  # it ends with this session of the operator
    code_hash: str = Field(default="", repr=False)
    code_expires_at: datetime | None = Field(default=None, sa_type=timestamptz())
    token_hash: str = Field(default="", repr=False)  # of the cookie; "" until the code was used
    proof: str = Field(default="", repr=False)  # see `impersonation_sessions`
    started_at: datetime | None = Field(default=None, sa_type=timestamptz())
    expires_at: datetime | None = Field(default=None, sa_type=timestamptz())
    ended_at: datetime | None = Field(default=None, sa_type=timestamptz())
    ended_by: str = ""  # ImpersonationEnd


class ImpersonationEvent(TenantRow, table=True):
    """A page that an operator saw for a member, an action, or a refusal. Rows are only added, by the role bulkhead_aside."""

    __tablename__ = "impersonation_event"

    id: str = Field(default_factory=lambda: new_id("imv"), primary_key=True)
    impersonation_id: str
    at: datetime = Field(default_factory=now, sa_type=timestamptz())
    kind: str  # "page", "action" or "refused"
    page: str  # below the tenant's address
    action: str  # name of the handler or of the refused action
    reason: str = ""  # of a refusal
    request_id: str
