"""Invalid settings stop the start by name; production refuses values of development."""

import base64
import os
from collections.abc import Iterator

import pytest

from shared.billing import accounts
from shared.core.config import (
    DEMO_PASSWORD,
    DEMO_STRIPE_KEY,
    DEMO_STRIPE_SECRET,
    ConfigurationError,
    settings,
)

KEY = base64.b64encode(b"k" * 32).decode()
SOUND = {
    "BULKHEAD_ENV": "prod",
    "BULKHEAD_MASTER_KEYS": f"2:{KEY},1:{base64.b64encode(b'l' * 32).decode()}",
    "DATABASE_URL": "postgresql://admin:secret@db.example.com/bulkhead",
    "SMTP_URL": "smtps://mail.example.com",
    "BULKHEAD_TENANT_URL": "https://app.example.com",
    "BULKHEAD_ADMIN_URL": "https://ops.example.com",
    "TRUSTED_PROXY_HOPS": "1",
    "BULKHEAD_MAIL_FROM": "no-reply@example.com",
    "STRIPE_SECRET_KEY": "sk_live_1",
    "STRIPE_WEBHOOK_SECRETS": "whsec_1",
}


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> Iterator[pytest.MonkeyPatch]:
    for name in os.environ:
        if name.startswith(("BULKHEAD_", "STRIPE_")) or name in (
            "DATABASE_URL",
            "DATABASE_MIGRATE_URL",
            "SMTP_URL",
            "REDIS_URL",
            "TRUSTED_PROXY_HOPS",
        ):
            monkeypatch.delenv(name)
    settings.cache_clear()
    yield monkeypatch
    monkeypatch.undo()
    settings.cache_clear()


def set_environment(monkeypatch: pytest.MonkeyPatch, **changed: str | None) -> None:
    for name, value in changed.items():
        monkeypatch.delenv(name, raising=False) if value is None else monkeypatch.setenv(name, value)
    settings.cache_clear()


def test_empty_environment_means_development(environment: pytest.MonkeyPatch) -> None:
    assert not settings().is_production
    assert settings().tenant_url == "http://localhost:3000"


def test_unknown_setting_is_refused(environment: pytest.MonkeyPatch) -> None:
    set_environment(environment, BULKHEAD_TENANT_ULR="https://app.example.com", BULKHEAD_X="")
    with pytest.raises(ConfigurationError, match=r"BULKHEAD_TENANT_ULR, BULKHEAD_X; see docs/settings\.md"):
        settings()


def test_complete_production_settings_are_accepted(environment: pytest.MonkeyPatch) -> None:
    set_environment(environment, **SOUND)
    assert settings().is_production
    assert settings().find_production_problems() == []


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("BULKHEAD_MASTER_KEYS", None, "BULKHEAD_MASTER_KEYS is missing"),
        ("BULKHEAD_MASTER_KEYS", "", "BULKHEAD_MASTER_KEYS is missing"),
        ("DATABASE_URL", None, "DATABASE_URL is missing"),
        ("SMTP_URL", None, "SMTP_URL is missing"),
        ("SMTP_URL", "smtp+plain://mail.example.com", r"SMTP_URL is smtp\+plain://"),
        ("BULKHEAD_DEMO_PASSWORD", DEMO_PASSWORD, "BULKHEAD_DEMO_PASSWORD is the demo password"),
        ("BULKHEAD_TENANT_URL", "http://app.example.com", "BULKHEAD_TENANT_URL must be the public https"),
        ("BULKHEAD_ADMIN_URL", "https://localhost", "BULKHEAD_ADMIN_URL must be the public https"),
        ("BULKHEAD_ADMIN_URL", "https://app.example.com:8443", "share one host"),
        ("BULKHEAD_SANDBOX_URL", "https://stand-ins.example.com", "BULKHEAD_SANDBOX_URL is set"),
        ("TRUSTED_PROXY_HOPS", None, "TRUSTED_PROXY_HOPS is missing"),
        ("BULKHEAD_MAIL_FROM", None, "BULKHEAD_MAIL_FROM is missing"),
        ("STRIPE_SECRET_KEY", None, "STRIPE_SECRET_KEY is missing"),
        ("STRIPE_SECRET_KEY", DEMO_STRIPE_KEY, "the one of the stand-in"),
        ("STRIPE_WEBHOOK_SECRETS", None, "STRIPE_WEBHOOK_SECRETS is missing"),
        ("STRIPE_WEBHOOK_SECRETS", " , ", "STRIPE_WEBHOOK_SECRETS is missing"),
        ("STRIPE_WEBHOOK_SECRETS", f"whsec_1,{DEMO_STRIPE_SECRET}", "the one of the stand-in"),
    ],
)
def test_production_refuses_each_development_value(
    environment: pytest.MonkeyPatch, name: str, value: str | None, message: str
) -> None:
    set_environment(environment, **SOUND)
    set_environment(environment, **{name: value})
    with pytest.raises(ConfigurationError, match=message):
        settings()


def test_production_migrates_with_the_url_of_the_administrator_alone(environment: pytest.MonkeyPatch) -> None:
    set_environment(environment, **SOUND)
    set_environment(environment, DATABASE_URL=None, DATABASE_MIGRATE_URL=SOUND["DATABASE_URL"])
    assert settings().database_url is None


@pytest.mark.parametrize(
    "url", ["mail.example.com:587", "http://mail.example.com", "smtp://", "smtp://mail.example.com:port"]
)
def test_mail_server_without_a_known_scheme_is_refused(environment: pytest.MonkeyPatch, url: str) -> None:
    set_environment(environment, SMTP_URL=url)
    with pytest.raises(ConfigurationError, match=r"SMTP_URL.*smtp://"):
        settings()


def test_production_names_every_missing_setting(environment: pytest.MonkeyPatch) -> None:
    set_environment(environment, BULKHEAD_ENV="prod")
    with pytest.raises(ConfigurationError) as caught:
        settings()
    for name in (
        "BULKHEAD_MASTER_KEYS",
        "DATABASE_URL",
        "SMTP_URL",
        "BULKHEAD_TENANT_URL",
        "BULKHEAD_ADMIN_URL",
    ):
        assert name in str(caught.value)


@pytest.mark.parametrize(
    "url",
    [
        "*",
        "https://*.example.com",
        "app.example.com",
        "ftp://app.example.com",
        "https://app.example.com/path",
        "https://app.example.com?x=1",
        "https://ann@app.example.com",
        "https://app.example.com:abc",
        "https://app.example.com:70000",
        "https://",
        "http://[::1",
    ],
)
@pytest.mark.parametrize("name", ["BULKHEAD_TENANT_URL", "BULKHEAD_ADMIN_URL", "BULKHEAD_SANDBOX_URL"])
def test_url_with_more_than_an_origin_is_refused(
    environment: pytest.MonkeyPatch, name: str, url: str
) -> None:
    set_environment(environment, **{name: url})
    with pytest.raises(ConfigurationError, match=name):
        settings()


def test_live_key_is_refused_beside_a_stand_in(environment: pytest.MonkeyPatch) -> None:
    for key in ("sk_live_1", "rk_live_1"):
        set_environment(environment, STRIPE_API_BASE="http://localhost:3002/stripe", STRIPE_SECRET_KEY=key)
        with pytest.raises(ConfigurationError, match="a live key must not be sent"):
            settings()


@pytest.mark.parametrize("key", [" sk_live_1", "rk_live_1\n"])
def test_stripe_key_is_stripped(environment: pytest.MonkeyPatch, key: str) -> None:
    """A live key that is not recognised would make every webhook look as if it were of the other mode."""
    set_environment(environment, STRIPE_SECRET_KEY=key)
    assert settings().stripe_key == key.strip()
    assert accounts.get_platform_account().livemode


@pytest.mark.parametrize("key", ["pk_live_1", "whsec_1", "whatever", "sk_live_1 2", "sk_live_ü"])
def test_value_that_is_no_secret_key_is_refused_without_being_shown(
    environment: pytest.MonkeyPatch, key: str
) -> None:
    set_environment(environment, STRIPE_SECRET_KEY=key)
    with pytest.raises(ConfigurationError, match="must be a secret key") as refused:
        settings()
    assert key not in str(refused.value)


def test_own_test_key_is_used_with_stripe_itself(environment: pytest.MonkeyPatch) -> None:
    set_environment(environment, STRIPE_SECRET_KEY="sk_test_1")
    assert (settings().stripe_base, settings().stripe_secrets) == (None, ())


def test_development_without_a_key_uses_the_stand_in(environment: pytest.MonkeyPatch) -> None:
    assert settings().stripe_base == f"{settings().sandbox_url}/stripe"
    assert (settings().stripe_key, settings().stripe_secrets) == (DEMO_STRIPE_KEY, (DEMO_STRIPE_SECRET,))


def test_webhook_secrets_may_be_two_during_a_replacement(environment: pytest.MonkeyPatch) -> None:
    set_environment(environment, STRIPE_WEBHOOK_SECRETS="whsec_new, whsec_old")
    assert settings().stripe_secrets == ("whsec_new", "whsec_old")


def test_equal_origins_of_both_apps_are_refused(environment: pytest.MonkeyPatch) -> None:
    set_environment(environment, BULKHEAD_ADMIN_URL="http://localhost:3000/")
    with pytest.raises(ConfigurationError, match="must differ"):
        settings()


@pytest.mark.parametrize(
    "keys",
    [
        "nonsense",
        KEY,
        f"x:{KEY}",
        f"²:{KEY}",
        f"-1:{KEY}",
        f"99999999999:{KEY}",
        "1:c2hvcnQ=",
        "1:not base64",
        f"1:{KEY},1:{KEY}",
        f"1:{KEY},",
        f"1:{KEY},2:",
    ],
)
def test_malformed_master_keys_are_refused(environment: pytest.MonkeyPatch, keys: str) -> None:
    set_environment(environment, BULKHEAD_MASTER_KEYS=keys)
    with pytest.raises(ConfigurationError, match="BULKHEAD_MASTER_KEYS must be a list"):
        settings().load_master_keys()


def test_master_keys_keep_their_order(environment: pytest.MonkeyPatch) -> None:
    set_environment(environment, **SOUND)
    assert list(settings().load_master_keys()) == [2, 1]


def test_settings_hide_their_secrets(environment: pytest.MonkeyPatch) -> None:
    set_environment(environment, **SOUND)
    for secret in (KEY, "admin:secret"):
        assert secret not in repr(settings())
