"""The manifest of identity: people, operators and their sessions. None of its tables belongs to one tenant."""

from shared.core.registry import Module
from shared.identity import models, tasks

MODULE = Module(
    name="identity",
    models=[
        models.Operator,
        models.OperatorChallenge,
        models.OperatorCredential,
        models.OperatorRecoveryCode,
        models.OperatorSession,
        models.OperatorTotp,
        models.PlatformKey,
        models.User,
        models.UserChallenge,
        models.UserCredential,
        models.UserRecoveryCode,
        models.UserSession,
        models.UserToken,
        models.UserTotp,
    ],
    tasks=tasks.PLATFORM_TASKS,
)
