"""Every setting of Bulkhead, read once from the environment. Invalid values are refused.

The table in docs/settings.md is written from this file; a test compares the two.
"""

import base64
import os
import re
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Literal
from urllib.parse import urlsplit

from pydantic import Field, SecretStr, field_validator, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from shared.core import setting_urls
from shared.core.master_keys import find_master_key_problems, parse_master_keys

PREFIX = "BULKHEAD_"
DEMO_PASSWORD = "bulkhead-demo"
# Of the Stripe stand-in, which accepts any test key. They protect nothing of value.
DEMO_STRIPE_KEY, DEMO_STRIPE_SECRET = "sk_test_bulkhead_demo", "whsec_bulkhead_demo"
TEST_KEY_PREFIXES = ("sk_test_", "rk_test_")
DEVELOPMENT_KEY_FILE = "master.keys"
# Schemes of SMTP_URL: TLS by STARTTLS (required), TLS from the first byte, and none.
SMTP_STARTTLS, SMTP_TLS, SMTP_PLAIN = "smtp", "smtps", "smtp+plain"
MAILGUN, MAILGUN_PLAIN = "mailgun", "mailgun+plain"  # its HTTP API, by https and, for tests, by http
# Read by others before this module exists, or by one tool only: known, but not fields here.
NON_FIELD_SETTINGS = {"BULKHEAD_APP", "BULKHEAD_PG_BIN", "BULKHEAD_SUPERVISOR"}


class ConfigurationError(RuntimeError):
    """An invalid setting. The message names the setting and a valid value."""


class Settings(BaseSettings):
    model_config = SettingsConfigDict(extra="ignore", frozen=True)

    env: Literal["dev", "prod"] = Field("dev", alias="BULKHEAD_ENV")
    data_dir: Path = Field(Path(".bulkhead"), alias="BULKHEAD_DATA_DIR")
    database_url: SecretStr | None = Field(None, alias="DATABASE_URL")
    database_migrate_url: SecretStr | None = Field(None, alias="DATABASE_MIGRATE_URL")
    database_direct_url: SecretStr | None = Field(None, alias="DATABASE_DIRECT_URL")
    database_replica_url: SecretStr | None = Field(None, alias="DATABASE_REPLICA_URL")
    replica_max_lag_seconds: int = Field(60, alias="BULKHEAD_REPLICA_MAX_LAG_SECONDS", ge=1, le=86_400)
    redis_url: SecretStr | None = Field(None, alias="REDIS_URL")
    tenant_url: str = Field("http://localhost:3000", alias="BULKHEAD_TENANT_URL")
    admin_url: str = Field("http://localhost:3001", alias="BULKHEAD_ADMIN_URL")
    sandbox_url: str = Field("http://localhost:3002", alias="BULKHEAD_SANDBOX_URL")
    tenant_domain: str | None = Field(None, alias="BULKHEAD_TENANT_DOMAIN")
    stripe_secret_key: SecretStr | None = Field(None, alias="STRIPE_SECRET_KEY")
    stripe_webhook_secrets: SecretStr | None = Field(None, alias="STRIPE_WEBHOOK_SECRETS")
    stripe_api_base: str | None = Field(None, alias="STRIPE_API_BASE")
    stripe_allow_test_key: bool = Field(False, alias="STRIPE_ALLOW_TEST_KEY")
    automatic_tax: bool = Field(False, alias="BULKHEAD_AUTOMATIC_TAX")
    disputes_pause_collection: bool = Field(True, alias="BULKHEAD_DISPUTES_PAUSE_COLLECTION")
    customers_can_pause: bool = Field(False, alias="BULKHEAD_CUSTOMERS_CAN_PAUSE")
    smtp_url: SecretStr | None = Field(None, alias="SMTP_URL")
    mail_from: str = Field("no-reply@bulkhead.test", alias="BULKHEAD_MAIL_FROM")
    mail_webhook_keys: SecretStr | None = Field(None, alias="BULKHEAD_MAIL_WEBHOOK_KEYS")
    master_keys: SecretStr | None = Field(None, alias="BULKHEAD_MASTER_KEYS")
    demo_password: SecretStr = Field(SecretStr(DEMO_PASSWORD), alias="BULKHEAD_DEMO_PASSWORD")
    trusted_proxy_hops: int = Field(0, alias="TRUSTED_PROXY_HOPS", ge=0, le=5)
    metrics_token: SecretStr | None = Field(None, alias="BULKHEAD_METRICS_TOKEN", min_length=16)
    metrics_address: str = Field("", alias="BULKHEAD_METRICS_ADDRESS")
    security_contact: str | None = Field(None, alias="BULKHEAD_SECURITY_CONTACT")
    factor_reset_wait_hours: int = Field(24, alias="BULKHEAD_FACTOR_RESET_WAIT_HOURS", ge=1, le=720)
    approvals: Literal["required", "one_operator", "off"] | None = Field(None, alias="BULKHEAD_APPROVALS")
    requests_per_second: int = Field(20, alias="BULKHEAD_REQUESTS_PER_SECOND", ge=1, le=1_000_000)
    api_key_requests_per_minute: int = Field(
        600, alias="BULKHEAD_API_KEY_REQUESTS_PER_MINUTE", ge=1, le=100_000_000
    )
    api_tenant_requests_per_minute: int = Field(
        3_000, alias="BULKHEAD_API_TENANT_REQUESTS_PER_MINUTE", ge=1, le=100_000_000
    )
    tenant_requests_per_second: int = Field(
        50, alias="BULKHEAD_TENANT_REQUESTS_PER_SECOND", ge=1, le=1_000_000
    )
    trials_per_person: int = Field(1, alias="BULKHEAD_TRIALS_PER_PERSON", ge=0, le=1_000_000)
    events_per_second: int = Field(20, alias="BULKHEAD_EVENTS_PER_SECOND", ge=1, le=1_000_000)
    outbound_allow: str = Field("", alias="BULKHEAD_OUTBOUND_ALLOW")
    upload_max_mb: int = Field(25, alias="BULKHEAD_UPLOAD_MAX_MB", ge=1, le=1_000)
    upload_tenant_max_mb: int = Field(5_000, alias="BULKHEAD_UPLOAD_TENANT_MAX_MB", ge=1, le=10_000_000)
    files_dir: Path | None = Field(None, alias="BULKHEAD_FILES_DIR")
    files_bucket_url: str | None = Field(None, alias="BULKHEAD_FILES_BUCKET_URL")
    files_bucket: str | None = Field(None, alias="BULKHEAD_FILES_BUCKET")
    files_bucket_region: str = Field("us-east-1", alias="BULKHEAD_FILES_BUCKET_REGION")
    files_bucket_key_id: str | None = Field(None, alias="BULKHEAD_FILES_BUCKET_KEY_ID")
    files_bucket_secret: SecretStr | None = Field(None, alias="BULKHEAD_FILES_BUCKET_SECRET")

    @field_validator("tenant_url", "admin_url", "sandbox_url")
    @classmethod
    def _check_origin(cls, value: str) -> str:
        """Browsers send their own spelling of it, which forms and sockets are compared with."""
        return setting_urls.normalize_origin(value)

    @field_validator("tenant_domain")
    @classmethod
    def _check_tenant_domain(cls, value: str | None) -> str | None:
        return setting_urls.normalize_domain(value) if value is not None else None

    @field_validator("database_url", "database_migrate_url", "database_direct_url", "database_replica_url")
    @classmethod
    def _check_database_url(cls, value: SecretStr | None) -> SecretStr | None:
        if value is not None:
            setting_urls.check_database_url(value.get_secret_value())
        return value

    @field_validator("redis_url")
    @classmethod
    def _check_redis_url(cls, value: SecretStr | None) -> SecretStr | None:
        if value is not None:
            setting_urls.check_redis_url(value.get_secret_value())
        return value

    @field_validator("master_keys")
    @classmethod
    def _check_master_keys(cls, value: SecretStr | None) -> SecretStr | None:
        if value is not None:
            parse_master_keys(value.get_secret_value())
        return value

    @field_validator("outbound_allow")
    @classmethod
    def _check_outbound_allow(cls, value: str) -> str:
        setting_urls.parse_targets(value)
        return value

    @field_validator("metrics_address")
    @classmethod
    def _check_metrics_address(cls, value: str) -> str:
        if len(setting_urls.parse_targets(value)) > 1:
            raise ValueError("must be one host:port, such as 127.0.0.1:9464")
        return value

    @field_validator("mail_from")
    @classmethod
    def _check_mail_from(cls, value: str) -> str:
        local, _, domain = value.strip().partition("@")
        if (
            not local
            or "." not in domain
            or not value.isascii()
            or any(character.isspace() for character in value.strip())
        ):
            raise ValueError("must be an address such as no-reply@example.com")
        return value.strip()

    @field_validator(
        *(
            "database_url",
            "database_migrate_url",
            "database_direct_url",
            "database_replica_url",
            "redis_url",
            "smtp_url",
            "mail_webhook_keys",
            "master_keys",
            "metrics_token",
            "security_contact",
            "tenant_domain",
        ),
        *("stripe_secret_key", "stripe_webhook_secrets", "stripe_api_base"),
        *("files_dir", "files_bucket_url", "files_bucket", "files_bucket_key_id", "files_bucket_secret"),
        mode="before",
    )
    @classmethod
    def _treat_empty_as_unset(cls, value: object) -> object:
        return value or None

    @field_validator("smtp_url")
    @classmethod
    def _check_smtp_url(cls, value: SecretStr | None) -> SecretStr | None:
        """The message never holds the value, which may contain a password."""
        if value is None:
            return None
        try:
            url = urlsplit(value.get_secret_value().strip())
            _ = url.port  # raises ValueError for an invalid port
        except ValueError:
            raise ValueError("must be an address such as smtp://user:password@host:587") from None
        if url.scheme in (MAILGUN, MAILGUN_PLAIN) and not (
            url.password and re.fullmatch(r"/[\w.-]+", url.path)
        ):
            raise ValueError("must be like mailgun://api:KEY@api.mailgun.net/mg.example.com")
        schemes = (SMTP_STARTTLS, SMTP_TLS, SMTP_PLAIN, MAILGUN, MAILGUN_PLAIN)
        if url.scheme not in schemes or not url.hostname:
            raise ValueError(
                "must begin with smtp:// (STARTTLS is required), smtps:// (TLS),"
                " smtp+plain:// (no encryption) or mailgun:// (its HTTP API), followed by a host"
            )
        return SecretStr(value.get_secret_value().strip())

    @field_validator("mail_webhook_keys")
    @classmethod
    def _check_mail_webhook_keys(cls, value: SecretStr | None) -> SecretStr | None:
        keys = [] if value is None else value.get_secret_value().split(",")
        if any(key.strip() and not re.fullmatch(r"[\x21-\x7e]{16,200}", key.strip()) for key in keys):
            raise ValueError("must be signing keys of at least 16 characters, separated by commas")
        return value

    @field_validator("security_contact")
    @classmethod
    def _check_security_contact(cls, value: str | None) -> str | None:
        if value is not None and not re.fullmatch(r"(?:mailto:[^@\s]+@|https://)[\x21-\x7e]+", value):
            raise ValueError("must be an address such as mailto:security@example.com or https://…")
        return value

    @field_validator("stripe_secret_key")
    @classmethod
    def _check_stripe_secret_key(cls, value: SecretStr | None) -> SecretStr | None:
        """The key without surrounding blanks. With one in front, a live key would not be recognised as live."""
        if value is None:
            return None
        key = value.get_secret_value().strip()
        if not re.fullmatch(r"[sr]k_(?:test|live)_[\x21-\x7e]+", key):
            raise ValueError("must be a secret key of Stripe's: sk_test_…, sk_live_…, rk_test_… or rk_live_…")
        return SecretStr(key)

    @field_validator("stripe_webhook_secrets")
    @classmethod
    def _check_stripe_webhook_secrets(cls, value: SecretStr | None) -> SecretStr | None:
        secrets = [] if value is None else value.get_secret_value().split(",")
        if any(
            secret.strip() and not re.fullmatch(r"whsec_[\x21-\x7e]+", secret.strip()) for secret in secrets
        ):
            raise ValueError(
                "must be signing secrets of webhook endpoints, whsec_…, separated by commas. Stripe shows them at the endpoint"
            )
        return value

    @field_validator("stripe_api_base")
    @classmethod
    def _check_stripe_api_base(cls, value: str | None) -> str | None:
        parts = urlsplit(value or "http://unset")
        if parts.scheme not in ("http", "https") or not parts.hostname or parts.query or parts.fragment:
            raise ValueError("must be an address such as http://localhost:3002/stripe")
        return value.rstrip("/") if value else None

    @field_validator("files_bucket_url")
    @classmethod
    def _check_files_bucket_url(cls, value: str | None) -> str | None:
        return None if value is None else setting_urls.normalize_origin(value)

    @field_validator("files_bucket", "files_bucket_region")
    @classmethod
    def _check_files_bucket_name(cls, value: str | None) -> str | None:
        if value is not None and not re.fullmatch(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]", value):
            raise ValueError("must have 3 to 63 lower-case letters, digits, dots and hyphens")
        return value

    @model_validator(mode="after")
    def _require_complete_file_storage(self) -> "Settings":
        parts = {
            "BULKHEAD_FILES_BUCKET_URL": self.files_bucket_url,
            "BULKHEAD_FILES_BUCKET": self.files_bucket,
            "BULKHEAD_FILES_BUCKET_KEY_ID": self.files_bucket_key_id,
            "BULKHEAD_FILES_BUCKET_SECRET": self.files_bucket_secret,
        }
        missing = [name for name, value in parts.items() if value is None]
        if 0 < len(missing) < len(parts):
            raise ValueError(f"{' and '.join(missing)} must be set as well: files are stored in a bucket")
        if self.files_dir is not None and not missing:
            raise ValueError("BULKHEAD_FILES_DIR and BULKHEAD_FILES_BUCKET are both set: set one of them")
        return self

    @model_validator(mode="after")
    def _refuse_live_key_for_stand_in(self) -> "Settings":
        """One setting moves all addresses of the SDK, so no other setting has to be checked."""
        key = self.stripe_secret_key.get_secret_value() if self.stripe_secret_key else ""
        if self.stripe_api_base is not None and key and not key.startswith(TEST_KEY_PREFIXES):
            raise ValueError("STRIPE_API_BASE is set: a live key must not be sent to a stand-in")
        return self

    @model_validator(mode="after")
    def _require_different_origins(self) -> "Settings":
        if self.tenant_url == self.admin_url:
            raise ValueError(
                "BULKHEAD_TENANT_URL and BULKHEAD_ADMIN_URL must differ: two realms, two origins"
            )
        return self

    @property
    def is_production(self) -> bool:
        return self.env == "prod"

    @property
    def approval_mode(self) -> Literal["required", "one_operator", "off"]:
        """Whether a second operator approves what needs it."""
        return self.approvals or ("required" if self.is_production else "off")

    @property
    def outbound_allow_targets(self) -> list[tuple[str, int]]:
        """Hosts and ports that webhooks reach although they aren't public, for tests and the demo."""
        return setting_urls.parse_targets(self.outbound_allow)

    @property
    def metrics_target(self) -> tuple[str, int] | None:
        """Where `/metrics` is served apart from the apps; None where they answer it themselves."""
        return next(iter(setting_urls.parse_targets(self.metrics_address)), None)

    @property
    def migration_url(self) -> SecretStr | None:
        """Of an administrator or the owner. In production the direct URL is that of the process."""
        direct_url = None if self.is_production else self.database_direct_url
        return self.database_migrate_url or direct_url or self.database_url

    @property
    def absolute_data_dir(self) -> Path:
        """The data directory, absolute: the embedded database, generated keys, build marks."""
        return self.data_dir.resolve()

    @property
    def frontends_dir(self) -> Path:
        """Where the frontends are built, one folder per app."""
        return self.absolute_data_dir / "web"

    @property
    def stores_files_in_bucket(self) -> bool:
        return self.files_bucket is not None

    @property
    def absolute_files_dir(self) -> Path:
        """Where files are stored, or, with a bucket, where they are written before they are sent."""
        return self.files_dir.resolve() if self.files_dir is not None else self.absolute_data_dir / "files"

    @property
    def mail_webhook_signing_keys(self) -> tuple[str, ...]:
        """Of the mail provider's webhooks, newest first. Empty closes the endpoint."""
        keys = "" if self.mail_webhook_keys is None else self.mail_webhook_keys.get_secret_value()
        return tuple(key.strip() for key in keys.split(",") if key.strip())

    @property
    def mailbox_port(self) -> int:
        """The SMTP port of the mailbox stand-in: 23 above the port of its pages, by default 3025."""
        return (urlsplit(self.sandbox_url).port or 3002) + 23

    @property
    def stripe_key(self) -> str:
        """The secret key of the platform's account. Without one: the stand-in's in development, "" (no billing) in production."""
        if self.stripe_secret_key is not None:
            return self.stripe_secret_key.get_secret_value()
        return "" if self.is_production else DEMO_STRIPE_KEY

    @property
    def shows_test_mode(self) -> bool:
        """Whether production runs with a test key, by `STRIPE_ALLOW_TEST_KEY`, so that every page has to say it."""
        return self.is_production and self.stripe_key.startswith(TEST_KEY_PREFIXES)

    @property
    def stripe_secrets(self) -> tuple[str, ...]:
        """The signing secrets of its webhooks, newest first: two while one is being replaced. Empty refuses every webhook."""
        if self.stripe_webhook_secrets is not None:
            secrets = self.stripe_webhook_secrets.get_secret_value().split(",")
            return tuple(secret.strip() for secret in secrets if secret.strip())
        return () if self.is_production or self.stripe_secret_key is not None else (DEMO_STRIPE_SECRET,)

    @property
    def stripe_base(self) -> str | None:
        """The address of the API; None is Stripe's own. A configured key is never sent to the stand-in by default."""
        if self.stripe_api_base is not None or self.is_production or self.stripe_secret_key is not None:
            return self.stripe_api_base
        return f"{self.sandbox_url}/stripe"

    def load_master_keys(self) -> dict[int, bytes]:
        """Master keys by id, newest first. `1:base64,0:base64`; development makes its own once."""
        return dict(self._master_keys_by_id)

    @cached_property
    def _master_keys_by_id(self) -> dict[int, bytes]:
        """Of a file that is read once: each signature and each sealed value needs them."""
        if self.master_keys is not None:
            return parse_master_keys(self.master_keys.get_secret_value())
        try:
            return parse_master_keys(_load_development_key(self.absolute_data_dir))
        except ValueError as problem:
            path = self.absolute_data_dir / DEVELOPMENT_KEY_FILE
            raise ConfigurationError(
                f"{path} can't be used: it {problem}. Restore it from a backup: what is sealed with it opens with nothing else."
            ) from None

    def find_production_problems(self) -> list[str]:
        """The settings that are unsafe in production, one sentence each."""
        return [
            *self._find_key_problems(),
            *self._find_database_problems(),
            *self._find_mail_problems(),
            *self._find_origin_problems(),
            *self._find_stripe_problems(),
            *self._find_file_problems(),
            *self._find_approval_problems(),
        ]

    def _find_approval_problems(self) -> list[str]:
        if self.approval_mode != "off":
            return []
        return [
            "BULKHEAD_APPROVALS is off: one operator alone could change prices and delete tenants."
            " Remove the setting, or set one_operator while you have a single operator."
        ]

    def _find_key_problems(self) -> list[str]:
        if self.master_keys is None:
            return [
                "BULKHEAD_MASTER_KEYS is missing: secrets could not be opened on another machine."
                " Set 1:<key>; `openssl rand -base64 32` makes the key."
            ]
        return find_master_key_problems(self.load_master_keys())

    def _find_database_problems(self) -> list[str]:
        problems = []
        if self.database_url is None and self.database_migrate_url is None:
            problems.append(
                "DATABASE_URL is missing: the embedded database is for development."
                " Set the URL that `bulkhead db-url --role app` prints."
            )
        urls = {
            "DATABASE_URL": self.database_url,
            "DATABASE_MIGRATE_URL": self.database_migrate_url,
            "DATABASE_DIRECT_URL": self.database_direct_url,
            "DATABASE_REPLICA_URL": self.database_replica_url,
        }
        for name, url in urls.items():
            if url is not None:
                problems += setting_urls.find_database_url_problems(name, url.get_secret_value())
        if self.database_url is not None and self.database_replica_url is not None:
            primary_url, replica_url = (
                url.get_secret_value() for url in (self.database_url, self.database_replica_url)
            )
            if not setting_urls.is_same_login(primary_url, replica_url):
                problems.append(
                    "DATABASE_REPLICA_URL and DATABASE_URL log in as different users, or into different databases."
                    " A replica has the logins of its primary: use the same one."
                )
        if self.redis_url is not None and (
            problem := setting_urls.find_redis_url_problem(self.redis_url.get_secret_value())
        ):
            problems.append(problem)
        return problems

    def _find_mail_problems(self) -> list[str]:
        problems = []
        smtp_url = urlsplit(self.smtp_url.get_secret_value()) if self.smtp_url else None
        if smtp_url is None:
            problems.append(
                "SMTP_URL is missing: mail would go to the mailbox stand-in. Set smtp://user:password@host:587."
            )
        elif smtp_url.scheme in (SMTP_PLAIN, MAILGUN_PLAIN):
            problems.append(
                f"SMTP_URL is {smtp_url.scheme}://: passwords and links would travel unencrypted."
                " Use smtp:// (STARTTLS), smtps:// or mailgun://."
            )
        elif setting_urls.is_this_machine(smtp_url.hostname or "") and smtp_url.port == self.mailbox_port:
            problems.append(
                "SMTP_URL is the mailbox stand-in, which delivers nothing. Set the address of your mail server."
            )
        if self.mail_from.endswith(".test"):
            problems.append(
                "BULKHEAD_MAIL_FROM is missing: emails need a sender address. Set one such as no-reply@example.com."
            )
        return problems

    def _find_origin_problems(self) -> list[str]:
        problems = []
        for name, origin in (
            ("BULKHEAD_TENANT_URL", self.tenant_url),
            ("BULKHEAD_ADMIN_URL", self.admin_url),
        ):
            if problem := setting_urls.find_public_origin_problem(origin):
                problems.append(f"{name} {problem}")
        if setting_urls.is_same_host(self.tenant_url, self.admin_url):
            problems.append(
                "BULKHEAD_TENANT_URL and BULKHEAD_ADMIN_URL share one host: cookies ignore ports."
                " Give the admin app a host of its own."
            )
        if "TRUSTED_PROXY_HOPS" not in os.environ:
            problems.append(
                "TRUSTED_PROXY_HOPS is missing: set the number of proxies in front of the app (0 for none),"
                " or all their clients share one rate limit."
            )
        if "BULKHEAD_SANDBOX_URL" in os.environ:
            problems.append(
                "BULKHEAD_SANDBOX_URL is set: stand-ins do not belong in production. Remove the setting."
            )
        if self.outbound_allow:
            problems.append(
                "BULKHEAD_OUTBOUND_ALLOW is set: customers could reach hosts of your own network."
                " Remove the setting."
            )
        if self.demo_password.get_secret_value() == DEMO_PASSWORD and "BULKHEAD_DEMO_PASSWORD" in os.environ:
            problems.append("BULKHEAD_DEMO_PASSWORD is the demo password: remove the setting.")
        return problems

    def _find_stripe_problems(self) -> list[str]:
        problems = []
        if self.stripe_secret_key is None:
            problems.append(
                "STRIPE_SECRET_KEY is missing: customers couldn't pay. Set the secret key of your Stripe account."
            )
        if not self.stripe_secrets:
            problems.append(
                "STRIPE_WEBHOOK_SECRETS is missing: webhooks from Stripe would be rejected."
                " Set the signing secret of your webhook endpoint."
            )
        if self.stripe_key == DEMO_STRIPE_KEY or DEMO_STRIPE_SECRET in self.stripe_secrets:
            problems.append(
                "STRIPE_SECRET_KEY or STRIPE_WEBHOOK_SECRETS is the one of the stand-in. Set those of your Stripe account."
            )
        elif self.stripe_key.startswith(TEST_KEY_PREFIXES) and not self.stripe_allow_test_key:
            problems.append(
                "STRIPE_SECRET_KEY is a test key: customers would get plans without paying. Set the live key,"
                " or STRIPE_ALLOW_TEST_KEY=1 where this is a rehearsal."
            )
        if self.stripe_api_base is not None:
            problems.append("STRIPE_API_BASE is set: it is for stand-ins. Remove the setting.")
        return problems

    def _find_file_problems(self) -> list[str]:
        if not self.stores_files_in_bucket and self.files_dir is None:
            return [
                "BULKHEAD_FILES_DIR is missing: files need a directory that all processes of the tenant app and all"
                " workers share. Set it, or the settings of a bucket, which begin with BULKHEAD_FILES_BUCKET."
            ]
        if self.files_bucket_url is not None and (
            problem := setting_urls.find_storage_url_problem(self.files_bucket_url)
        ):
            return [problem]
        return []


def _load_development_key(root: Path) -> str:
    path = root / DEVELOPMENT_KEY_FILE
    if not path.exists():
        root.mkdir(parents=True, exist_ok=True)
        draft = root / f"{DEVELOPMENT_KEY_FILE}.{os.getpid()}"
        with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
            file.write("1:" + base64.b64encode(os.urandom(32)).decode())
        try:
            os.link(draft, path)  # a second process uses the key of the first
        except FileExistsError:
            pass
        draft.unlink()
    return path.read_text()


def _list_unknown_settings(environ: dict[str, str]) -> list[str]:
    known_names = {str(field.alias) for field in Settings.model_fields.values()} | NON_FIELD_SETTINGS
    return sorted(name for name in environ if name.startswith(PREFIX) and name not in known_names)


@lru_cache
def settings() -> Settings:
    """Raises ConfigurationError, with every problem in one message."""
    from pydantic import ValidationError  # noqa: PLC0415  only needed for the message

    if unknown := _list_unknown_settings(dict(os.environ)):
        raise ConfigurationError(f"unknown setting {', '.join(unknown)}; see docs/settings.md for the list")
    try:
        loaded = Settings()  # type: ignore[call-arg]
    except ValidationError as error:
        lines = [": ".join([*map(str, detail["loc"]), detail["msg"]]) for detail in error.errors()]
        raise ConfigurationError("; ".join(lines)) from None
    if loaded.is_production and (problems := loaded.find_production_problems()):
        raise ConfigurationError("this is not ready for production:\n- " + "\n- ".join(problems))
    return loaded
