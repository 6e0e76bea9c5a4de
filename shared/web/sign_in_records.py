"""Record sign-ins: of operators in their audit log, of users in the audit log of each of their organisations."""

from sqlmodel.ext.asyncio.session import AsyncSession

from shared.audit import audit_log
from shared.backoffice import sign_in_failures
from shared.core import crypto, db, log
from shared.identity import account_events, devices, operator_notices, subjects
from shared.identity.account_events import WRONG_CODE, WRONG_PASSWORD
from shared.identity.realms import OPERATOR, Realm
from shared.identity.sign_in import Browser
from shared.tenancy import entry
from shared.web import user_agent


async def record_sign_in(
    session: AsyncSession,
    realm: Realm,
    subject_id: str,
    token: str,
    browser: Browser,
    *,
    enrolled: bool = False,
    used_recovery_code: bool = False,
) -> str:
    """Record a sign-in in the transaction that opens the session. `token`: of that session.

    Returns the token that the browser keeps, to be known at its next sign-in. One that isn't known is mailed.
    """
    device = await devices.recognise(session, realm, subject_id, browser.device_token)
    if realm is OPERATOR:
        await _record_operator_sign_in(
            session,
            subject_id,
            token,
            browser,
            is_new_device=device.is_new,
            enrolled=enrolled,
            used_recovery_code=used_recovery_code,
        )
        return device.token
    if used_recovery_code:
        await publish(session, "factor.recovery_code_used", subject_id, browser)
    cause = account_events.NEW_DEVICE if device.is_new else ""
    await publish(session, "session.started", subject_id, browser, cause=cause)
    if device.is_new:
        await account_events.publish_new_device(
            session, subject_id, address=browser.address, device=user_agent.describe(browser.agent)
        )
    return device.token


async def _record_operator_sign_in(
    session: AsyncSession,
    subject_id: str,
    token: str,
    browser: Browser,
    *,
    is_new_device: bool,
    enrolled: bool,
    used_recovery_code: bool,
) -> None:
    octx = await entry.enter_operator_account(session, subject_id, crypto.hash_token(token))
    operator = await subjects.get(session, OPERATOR, subject_id)
    assert operator is not None  # has just signed in
    if enrolled:
        audit_log.record_operator(octx, "factor.enrolled", octx.actor_id, reason="Enrolled while signing in")
        await operator_notices.publish(session, operator, "factor.enrolled")
    if used_recovery_code:
        audit_log.record_operator(
            octx, "factor.recovery_code_used", octx.actor_id, reason="Signed in with it"
        )
        await operator_notices.publish(session, operator, "factor.recovery_code_used")
    reason = "Signed in on a new device" if is_new_device else "Signed in"
    audit_log.record_operator(octx, "session.started", octx.actor_id, reason=reason)
    if is_new_device:
        where = f"{user_agent.describe(browser.agent)}, from {browser.address}"
        await operator_notices.publish(session, operator, operator_notices.NEW_DEVICE, where)


async def record_wrong_code(session: AsyncSession, realm: Realm, subject_id: str, browser: Browser) -> None:
    if realm is OPERATOR:
        await _record_operator_failure(session, subject_id, WRONG_CODE, browser)
    else:
        await publish(session, "session.failed", subject_id, browser, cause=WRONG_CODE)


async def record_wrong_password(realm: Realm, email: str, browser: Browser) -> None:
    """Record the failed sign-in for the account's tenants, or for operators. It counts no attempt.

    Call it after the response, whose time then reveals no account. It logs its own failure and raises nothing.
    """
    try:
        async with db.transaction(realm.db_role) as session:
            if realm is not OPERATOR:
                await account_events.publish_failed_sign_in(
                    session,
                    email,
                    WRONG_PASSWORD,
                    address=browser.address,
                    device=user_agent.describe(browser.agent),
                )
                return
            operator = await subjects.get_by_email(session, realm, email)
            if operator is not None and operator.disabled_at is None:
                await _record_operator_failure(session, operator.id, WRONG_PASSWORD, browser)
    except Exception as problem:
        log.get_logger(__name__).error("sign_in_failure_not_recorded", problem=type(problem).__name__)


async def publish(
    session: AsyncSession, action: str, user_id: str, browser: Browser, *, cause: str = ""
) -> None:
    """Publish what a user did with their account in this browser."""
    device = user_agent.describe(browser.agent)
    await account_events.publish(
        session, action, user_id, cause=cause, address=browser.address, device=device
    )


async def _record_operator_failure(
    session: AsyncSession, operator_id: str, cause: str, browser: Browser
) -> None:
    octx = await entry.enter_operator_account(session, operator_id, "")
    await sign_in_failures.record_failure(
        octx, cause, address=browser.address, device=user_agent.describe(browser.agent)
    )
