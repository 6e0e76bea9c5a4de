"""The manifest of identity: people, operators and their sessions. None of its tables belongs to one tenant."""

from shared.audit.event_types import AuditAction
from shared.core.notification_kinds import Audience, NotificationKind
from shared.core.registry import Module
from shared.identity import models, tasks

MODULE = Module(
    name="identity",
    models=[
        models.FactorReset,
        models.Operator,
        models.OperatorChallenge,
        models.OperatorCredential,
        models.OperatorDevice,
        models.OperatorIdempotencyKey,
        models.OperatorKey,
        models.OperatorRecoveryCode,
        models.OperatorSession,
        models.OperatorTotp,
        models.PlatformKey,
        models.User,
        models.UserChallenge,
        models.UserCredential,
        models.UserDevice,
        models.UserRecoveryCode,
        models.UserSession,
        models.UserToken,
        models.UserTotp,
    ],
    audit={
        AuditAction.FACTOR_CODES_RENEWED: "created new recovery codes",
        AuditAction.FACTOR_DISABLED: "turned off two-step sign-in",
        AuditAction.FACTOR_ENROLLED: "turned on two-step sign-in",
        AuditAction.FACTOR_RECOVERY_CODE_USED: "used a recovery code",
        AuditAction.FACTOR_RESET: "lost the second factor, which support removed",
        AuditAction.FACTOR_RESET_CANCELLED: "cancelled the removal of the second factor",
        AuditAction.FACTOR_RESET_DECLINED: "has a second factor that support declined to remove",
        AuditAction.FACTOR_RESET_REQUESTED: "asked support to remove the second factor",
        AuditAction.FACTOR_RESET_STARTED: "has a second factor that support will remove",
        AuditAction.PASSWORD_CHANGED: "changed their password",
        AuditAction.SESSION_ENDED: "signed out",
        AuditAction.SESSION_FAILED: "had a failed sign-in",
        AuditAction.SESSION_STARTED: "signed in",
    },
    notifications=[
        NotificationKind(
            key=tasks.ACCOUNT_KIND,
            title="Your account",
            description="When you sign up, confirm your email or choose a new password.",
            audience=Audience.ACCOUNT,
            templates=("account_exists", "reset", "verify"),
            is_essential=True,
        ),
        NotificationKind(
            key=tasks.SECURITY_KIND,
            title="Security",
            description="When your password, your second factor or the devices you sign in with change.",
            audience=Audience.ACCOUNT,
            templates=("account_changed", "factor_reset", "new_device", "password_changed"),
            is_essential=True,
        ),
        NotificationKind(
            key=tasks.OPERATOR_KIND,
            title="Your operator account",
            description="When your access to the admin app changes.",
            audience=Audience.OPERATOR,
            templates=("operator_notice",),
            is_essential=True,
        ),
    ],
    tasks=tasks.PLATFORM_TASKS,
)
