"""The two realms as values: shared code with separate tables, cookies, keys and database roles."""

from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from shared.core import db
from shared.identity import models


@dataclass(frozen=True, slots=True)
class Realm:
    """Tables and settings of a realm. The tables are `Any`: both realms differ only in the owner's column name."""

    name: str  # also the id of its platform key
    db_role: db.DatabaseRole
    session_cookie: str
    challenge_cookie: str
    device_cookie: str
    person: Any
    credential: Any
    session: Any
    totp: Any
    recovery_code: Any
    challenge: Any
    device: Any
    idle_timeout: timedelta
    absolute_timeout: timedelta
    factor_required: bool

    def owner_column(self, table: Any) -> Any:
        """The column of `table` with the person's id."""
        return getattr(table, f"{self.name}_id")

    def owner_values(self, subject_id: str) -> dict[str, str]:
        """The owner's column as keyword arguments for a new row."""
        return {f"{self.name}_id": subject_id}


USER = Realm(
    name="user",
    db_role="app",
    session_cookie="__Host-bulkhead-tenant",
    challenge_cookie="__Host-bulkhead-mfa",
    device_cookie="__Host-bulkhead-device",
    person=models.User,
    credential=models.UserCredential,
    session=models.UserSession,
    totp=models.UserTotp,
    recovery_code=models.UserRecoveryCode,
    challenge=models.UserChallenge,
    device=models.UserDevice,
    idle_timeout=timedelta(hours=24),
    absolute_timeout=timedelta(days=30),
    factor_required=False,
)
OPERATOR = Realm(
    name="operator",
    db_role="operator",
    session_cookie="__Host-bulkhead-admin",
    challenge_cookie="__Host-bulkhead-admin-mfa",
    device_cookie="__Host-bulkhead-admin-device",
    person=models.Operator,
    credential=models.OperatorCredential,
    session=models.OperatorSession,
    totp=models.OperatorTotp,
    recovery_code=models.OperatorRecoveryCode,
    challenge=models.OperatorChallenge,
    device=models.OperatorDevice,
    idle_timeout=timedelta(minutes=30),
    absolute_timeout=timedelta(hours=12),
    factor_required=True,
)
