"""Whether each data key opens with the master keys of this environment, and which ones older master keys wrap."""

from collections import Counter
from collections.abc import Iterator, Sequence

from shared.backoffice import provider_accounts, tenant_keys
from shared.backoffice.reasons import state_reason
from shared.cli.doctor.check_results import CheckResult, failed, ok, warning
from shared.cli.doctor.database_checks import find_login_url
from shared.core import crypto
from shared.core.config import ConfigurationError, settings
from shared.identity import encryption_keys
from shared.tenancy import entry

NAME = "data keys"
REASON = "bulkhead doctor: checks that every data key opens"
SHOWN = 3  # owners of keys in a detail


async def check_keys() -> Iterator[CheckResult]:
    """Of tenants, further Stripe accounts and second factors, as far as the logins of this environment can read them."""
    keys: list[tuple[str, crypto.WrappedKey]] = []
    can_operate = find_login_url("operator") is not None
    if can_operate:
        async with entry.enter_platform("command line") as octx:
            keys += await tenant_keys.list_wrapped_keys(octx, state_reason(octx, REASON))
            keys += await provider_accounts.list_wrapped_keys(octx, state_reason(octx, REASON))
    if can_own := find_login_url("owner") is not None:
        keys += await encryption_keys.list_wrapped_keys()
    return iter([*_judge_keys(keys), *_list_unread(can_operate=can_operate, can_own=can_own)])


def _judge_keys(keys: Sequence[tuple[str, crypto.WrappedKey]]) -> Iterator[CheckResult]:
    locked, older = list[str](), Counter[int]()
    for owner, key in keys:
        try:
            crypto.unwrap_dek(key)
        except (ConfigurationError, crypto.DecryptionError):
            locked.append(f"{owner} (master key {key.kek_id})")
        else:
            if crypto.needs_rewrap(key):
                older[key.kek_id] += 1
    numbers = ", ".join(map(str, settings().load_master_keys()))
    if locked:
        yield failed(
            NAME,
            f"{len(locked)} of {len(keys)} don't open with the master keys {numbers}: {', '.join(locked[:SHOWN])}.",
            "Put the master keys that wrapped them back into BULKHEAD_MASTER_KEYS.",
        )
    elif older:
        counts = ", ".join(f"{count} by key {number}" for number, count in sorted(older.items()))
        yield warning(
            NAME,
            f"All {len(keys)} open; some are wrapped as an older key or version did: {counts}.",
            "Run `bulkhead rotate-keys`.",
        )
    else:
        yield ok(NAME, f"All {len(keys)} open, and the newest master key wraps them.")


def _list_unread(*, can_operate: bool, can_own: bool) -> Iterator[CheckResult]:
    if not can_operate:
        yield warning(
            NAME,
            "Those of tenants and Stripe accounts weren't read: this environment has no operator's login.",
            "Run `bulkhead doctor` in the environment of the admin app as well.",
        )
    if not can_own:
        yield warning(
            "keys of second factors",
            "These weren't read: this environment has no owner's login.",
            "Run `bulkhead doctor` where DATABASE_MIGRATE_URL is set as well.",
        )
