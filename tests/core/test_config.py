"""Invalid settings stop the start by name; production refuses values of development."""

import base64
import hashlib
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from shared.billing import accounts
from shared.core.config import (
    DEMO_PASSWORD,
    DEMO_STRIPE_KEY,
    DEMO_STRIPE_SECRET,
    DEVELOPMENT_KEY_FILE,
    ConfigurationError,
    settings,
)
from shared.core.master_keys import find_master_key_problems
from shared.identity.realms import USER
from shared.web.app_sites import Site
from shared.web.same_origin import has_same_origin


def make_key(seed: str) -> str:
    return base64.b64encode(hashlib.sha256(seed.encode()).digest()).decode()


def encode_key(key: bytes) -> str:
    return f"1:{base64.b64encode(key).decode()}"


KEY = make_key("first")
SOUND = {
    "BULKHEAD_ENV": "prod",
    "BULKHEAD_MASTER_KEYS": f"2:{KEY},1:{make_key('second')}",
    "DATABASE_URL": "postgresql://admin:secret@db.example.com/bulkhead",
    "SMTP_URL": "smtps://mail.example.com",
    "BULKHEAD_TENANT_URL": "https://app.example.com",
    "BULKHEAD_ADMIN_URL": "https://ops.example.com",
    "TRUSTED_PROXY_HOPS": "1",
    "BULKHEAD_MAIL_FROM": "no-reply@example.com",
    "STRIPE_SECRET_KEY": "sk_live_1",
    "STRIPE_WEBHOOK_SECRETS": "whsec_1",
    "BULKHEAD_FILES_DIR": "/srv/bulkhead/files",
}
BUCKET = {
    "BULKHEAD_FILES_BUCKET_URL": "https://s3.example.com",
    "BULKHEAD_FILES_BUCKET": "bulkhead",
    "BULKHEAD_FILES_BUCKET_KEY_ID": "AKIA1",
    "BULKHEAD_FILES_BUCKET_SECRET": "s3cr3t-of-the-bucket",
}


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> Iterator[pytest.MonkeyPatch]:
    for name in os.environ:
        if name.startswith(("BULKHEAD_", "STRIPE_")) or name in (
            "DATABASE_URL",
            "DATABASE_MIGRATE_URL",
            "DATABASE_DIRECT_URL",
            "DATABASE_REPLICA_URL",
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
        ("BULKHEAD_ADMIN_URL", "https://app.example.com.", "share one host"),
        ("BULKHEAD_SANDBOX_URL", "https://stand-ins.example.com", "BULKHEAD_SANDBOX_URL is set"),
        ("TRUSTED_PROXY_HOPS", None, "TRUSTED_PROXY_HOPS is missing"),
        ("BULKHEAD_MAIL_FROM", None, "BULKHEAD_MAIL_FROM is missing"),
        ("BULKHEAD_FILES_DIR", None, "BULKHEAD_FILES_DIR is missing"),
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


KEY_IS_WEAK = "BULKHEAD_MASTER_KEYS: key 1 is no random key.*openssl"
DATABASE_IS_PLAIN = "has sslmode=.* and a public host.*Use sslmode=verify-full"
IS_ADDRESS = "must be the public https address with a name"
IS_MACHINE = "must be the public https address, and this is the machine itself"


@dataclass(frozen=True)
class Mistake:
    """A setting that production can't be meant to have. `secret` must not be in the message."""

    setting: str
    value: str
    message: str
    secret: str = ""


MISTAKES = {
    "key of zeros": Mistake("BULKHEAD_MASTER_KEYS", encode_key(bytes(32)), KEY_IS_WEAK),
    "key of two bytes": Mistake("BULKHEAD_MASTER_KEYS", encode_key(b"ab" * 16), KEY_IS_WEAK),
    "key that counts": Mistake("BULKHEAD_MASTER_KEYS", encode_key(bytes(range(32))), KEY_IS_WEAK),
    "key that is half repeated": Mistake(
        "BULKHEAD_MASTER_KEYS", encode_key(hashlib.sha256(b"x").digest()[:16] * 2), KEY_IS_WEAK
    ),
    "key that is a passphrase": Mistake(
        "BULKHEAD_MASTER_KEYS",
        encode_key(b"Six quick wolves jump by Mr. Fox"),
        KEY_IS_WEAK,
        base64.b64encode(b"Six quick wolves jump by Mr. Fox").decode(),
    ),
    "same key twice": Mistake(
        "BULKHEAD_MASTER_KEYS", f"2:{KEY},1:{KEY}", "BULKHEAD_MASTER_KEYS: keys 2 and 1 are the same.*", KEY
    ),
    "malformed key": Mistake(
        "BULKHEAD_MASTER_KEYS", f"1:{KEY}=", "BULKHEAD_MASTER_KEYS.*must be a list", KEY
    ),
    "database is sqlite": Mistake("DATABASE_URL", "sqlite:///b.db", "DATABASE_URL.*address of a Postgres"),
    "database is mysql": Mistake(
        "DATABASE_URL", "mysql://app:hidden@db/b", "DATABASE_URL.*address of a Postgres", "hidden"
    ),
    "database is nonsense": Mistake("DATABASE_URL", "nonsense", "DATABASE_URL.*address of a Postgres"),
    "database without password": Mistake(
        "DATABASE_URL",
        "postgresql://app@db.example.com/b",
        "DATABASE_URL has no password.*Write postgresql://",
    ),
    "administrator without password": Mistake(
        "DATABASE_MIGRATE_URL", "postgresql://postgres@db/b", "DATABASE_MIGRATE_URL has no password"
    ),
    "database without TLS": Mistake(
        "DATABASE_URL",
        "postgresql://app:hidden@db.example.com/b?sslmode=disable",
        f"DATABASE_URL {DATABASE_IS_PLAIN}",
        "hidden",
    ),
    "database that prefers no TLS": Mistake(
        "DATABASE_DIRECT_URL",
        "postgresql://app:hidden@db.example.com/b?sslmode=allow",
        f"DATABASE_DIRECT_URL {DATABASE_IS_PLAIN}",
        "hidden",
    ),
    "second database host without TLS": Mistake(
        "DATABASE_URL",
        "postgresql://app:hidden@/b?host=10.0.0.1,db.example.com&sslmode=disable",
        DATABASE_IS_PLAIN,
        "hidden",
    ),
    "replica with another login": Mistake(
        "DATABASE_REPLICA_URL",
        "postgresql://other:hidden@replica.example.com/bulkhead",
        "DATABASE_REPLICA_URL and DATABASE_URL log in as different users",
        "hidden",
    ),
    "Stripe test key": Mistake(
        "STRIPE_SECRET_KEY",
        "sk_test_hidden",
        "STRIPE_SECRET_KEY is a test key.*STRIPE_ALLOW_TEST_KEY",
        "hidden",
    ),
    "restricted test key": Mistake(
        "STRIPE_SECRET_KEY", "rk_test_hidden", "STRIPE_SECRET_KEY is a test key", "hidden"
    ),
    "webhook secret of another kind": Mistake(
        "STRIPE_WEBHOOK_SECRETS",
        "hidden",
        "STRIPE_WEBHOOK_SECRETS.*must be signing secrets.*whsec_",
        "hidden",
    ),
    "second webhook secret of another kind": Mistake(
        "STRIPE_WEBHOOK_SECRETS",
        "whsec_1,hidden",
        "STRIPE_WEBHOOK_SECRETS.*must be signing secrets",
        "hidden",
    ),
    "webhook secret without content": Mistake(
        "STRIPE_WEBHOOK_SECRETS", "whsec_", "STRIPE_WEBHOOK_SECRETS.*must be signing secrets"
    ),
    "mail to the stand-in": Mistake("SMTP_URL", "smtp://localhost:3025", "SMTP_URL is the mailbox stand-in"),
    "mail is nonsense": Mistake("SMTP_URL", "nonsense", "SMTP_URL.*smtp://"),
    "Redis is nonsense": Mistake("REDIS_URL", "nonsense", "REDIS_URL.*address of a Redis"),
    "Redis without host": Mistake("REDIS_URL", "redis://", "REDIS_URL.*address of a Redis"),
    "Redis with a wrong port": Mistake(
        "REDIS_URL", "redis://:hidden@cache:port", "REDIS_URL.*address of a Redis", "hidden"
    ),
    "Redis without TLS": Mistake(
        "REDIS_URL",
        "redis://:hidden@cache.example.com:6379",
        "REDIS_URL is redis:// with a public.*rediss",
        "hidden",
    ),
    "app on loopback": Mistake("BULKHEAD_TENANT_URL", "https://127.0.0.2", IS_ADDRESS),
    "app on loopback, short": Mistake("BULKHEAD_TENANT_URL", "https://127.1", IS_ADDRESS),
    "app on loopback, hexadecimal": Mistake("BULKHEAD_TENANT_URL", "https://0x7f000001", IS_ADDRESS),
    "app on loopback, v6": Mistake("BULKHEAD_ADMIN_URL", "https://[::1]", IS_ADDRESS),
    "app on every address": Mistake("BULKHEAD_TENANT_URL", "https://0.0.0.0", IS_ADDRESS),
    "app on an address": Mistake("BULKHEAD_ADMIN_URL", "https://10.1.2.3:8443", IS_ADDRESS),
    "app on localhost with a dot": Mistake("BULKHEAD_ADMIN_URL", "https://localhost.", IS_MACHINE),
    "app below localhost": Mistake("BULKHEAD_ADMIN_URL", "https://ops.localhost", IS_MACHINE),
}


@pytest.mark.parametrize("mistake", MISTAKES.values(), ids=MISTAKES.keys())
def test_production_refuses_what_cannot_be_meant(environment: pytest.MonkeyPatch, mistake: Mistake) -> None:
    set_environment(environment, **SOUND)
    set_environment(environment, **{mistake.setting: mistake.value})
    with pytest.raises(ConfigurationError, match=mistake.message) as refused:
        settings()
    assert not mistake.secret or mistake.secret not in str(refused.value)


SOUND_CHOICES = {
    "database in a private network": ("DATABASE_URL", "postgresql://app:secret@10.0.0.1/b?sslmode=disable"),
    "database by a private name": ("DATABASE_URL", "postgres://app:secret@postgres/b?sslmode=disable"),
    "database on a socket": ("DATABASE_URL", "postgresql://app@/b?host=/var/run/postgresql&sslmode=disable"),
    "database with a client certificate": ("DATABASE_URL", "postgresql://app@db.example.com/b?sslcert=a.crt"),
    "Redis in a private network": ("REDIS_URL", "redis://cache:6379/0"),
    "Redis with TLS": ("REDIS_URL", "rediss://:secret@cache.example.com:6379/0"),
    "Redis on a socket": ("REDIS_URL", "unix:///run/redis.sock?db=1"),
    "app on a port": ("BULKHEAD_TENANT_URL", "https://app.example.com:8443"),
}


@pytest.mark.parametrize(("name", "value"), SOUND_CHOICES.values(), ids=SOUND_CHOICES.keys())
def test_production_accepts_sound_choices(environment: pytest.MonkeyPatch, name: str, value: str) -> None:
    set_environment(environment, **SOUND)
    set_environment(environment, **{name: value})
    assert settings().is_production


def test_production_accepts_a_test_key_where_a_setting_allows_it(environment: pytest.MonkeyPatch) -> None:
    set_environment(environment, **SOUND)
    assert not settings().shows_test_mode
    set_environment(environment, STRIPE_SECRET_KEY="sk_test_1", STRIPE_ALLOW_TEST_KEY="1")
    assert settings().stripe_key == "sk_test_1"
    assert settings().shows_test_mode


def test_development_shows_no_test_mode() -> None:
    assert not settings().shows_test_mode


def test_random_keys_are_never_called_weak() -> None:
    keys_by_id = {number: os.urandom(32) for number in range(5_000)}
    assert find_master_key_problems(keys_by_id) == []


@pytest.mark.parametrize(
    ("value", "origin"),
    [
        ("https://App.Example.com", "https://app.example.com"),
        ("HTTPS://app.example.com:443/", "https://app.example.com"),
        ("https://app.example.com:", "https://app.example.com"),
        ("https://app.example.com:0443", "https://app.example.com"),
        ("http://app.example.com:80", "http://app.example.com"),
        ("http://app.example.com:443", "http://app.example.com:443"),
        ("http://[0:0::1]:3000", "http://[::1]:3000"),
    ],
)
def test_origin_is_written_as_browsers_send_it(
    environment: pytest.MonkeyPatch, value: str, origin: str
) -> None:
    set_environment(environment, BULKHEAD_TENANT_URL=value)
    assert settings().tenant_url == origin
    assert has_same_origin({"origin": origin}, Site(USER, "tenant").origin)


def test_origins_that_are_written_differently_are_refused_as_the_same(
    environment: pytest.MonkeyPatch,
) -> None:
    set_environment(
        environment, BULKHEAD_TENANT_URL="http://Localhost", BULKHEAD_ADMIN_URL="http://localhost:80"
    )
    with pytest.raises(ConfigurationError, match="must differ"):
        settings()


def test_malformed_key_in_the_data_directory_names_the_file(
    environment: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / DEVELOPMENT_KEY_FILE).write_text("1:broken")
    set_environment(environment, BULKHEAD_DATA_DIR=str(tmp_path))
    with pytest.raises(ConfigurationError, match=r"master\.keys can't be used.*Restore it from a backup"):
        settings().load_master_keys()


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


def test_production_stores_files_in_a_bucket(environment: pytest.MonkeyPatch) -> None:
    set_environment(environment, **SOUND | {"BULKHEAD_FILES_DIR": None} | BUCKET)
    assert settings().stores_files_in_bucket
    set_environment(environment, BULKHEAD_FILES_BUCKET_URL="http://s3.example.com")
    with pytest.raises(ConfigurationError, match="http:// to a public host") as caught:
        settings()
    assert BUCKET["BULKHEAD_FILES_BUCKET_SECRET"] not in str(caught.value)
    set_environment(environment, BULKHEAD_FILES_BUCKET_URL="http://minio.internal:9000")
    assert settings().files_bucket_url == "http://minio.internal:9000"


@pytest.mark.parametrize("missing", BUCKET)
def test_bucket_without_one_of_its_settings_is_refused(environment: pytest.MonkeyPatch, missing: str) -> None:
    set_environment(environment, **BUCKET | {missing: None})
    with pytest.raises(ConfigurationError, match=f"{missing} must be set"):
        settings()


def test_directory_beside_a_bucket_is_refused(environment: pytest.MonkeyPatch) -> None:
    set_environment(environment, **BUCKET, BULKHEAD_FILES_DIR="/srv/files")
    with pytest.raises(ConfigurationError, match="are both set"):
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
        "https://:secret@app.example.com",
        "https://app example.com",
        "https://bücher.example",
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
    with pytest.raises(ConfigurationError, match=r"BULKHEAD_MASTER_KEYS: .*must be a list"):
        settings()  # at the start, not at the first use


def test_master_keys_keep_their_order(environment: pytest.MonkeyPatch) -> None:
    set_environment(environment, **SOUND)
    assert list(settings().load_master_keys()) == [2, 1]


def test_settings_hide_their_secrets(environment: pytest.MonkeyPatch) -> None:
    set_environment(environment, **SOUND)
    for secret in (KEY, "admin:secret"):
        assert secret not in repr(settings())
