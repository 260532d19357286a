"""Everything the environment decides, read once into one object and handed down."""

from decimal import Decimal
from enum import StrEnum
from functools import cached_property
from ipaddress import IPv4Network, IPv6Network
from typing import Literal, Self
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import AliasChoices, Field, SecretStr, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from models.money import BasisPoints, Currency

PLACEHOLDER_SECRET = "change-me"  # what .env.example holds; refused everywhere
MINIMUM_SECRET_LENGTH = 32


class Environment(StrEnum):
    DEVELOPMENT = "development"
    PRODUCTION = "production"


class Settings(BaseSettings):
    """Named `AGORA_*` in the environment and in `.env`, but for MONGODB_URI (or DATABASE_URL) and LOG_LEVEL."""

    model_config = SettingsConfigDict(env_prefix="AGORA_", env_file=".env", extra="ignore", populate_by_name=True)

    environment: Environment = Environment.DEVELOPMENT
    debug: bool = False
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = Field(
        default="INFO", validation_alias=AliasChoices("LOG_LEVEL", "log_level")
    )

    # Secrets have no default. In development the launcher makes one and keeps it beside the data.
    secret_key: SecretStr = Field(description="Signs cursors, previews, device and mail tokens; 32 characters or more")

    # Database
    mongodb_uri: str = Field(validation_alias=AliasChoices("MONGODB_URI", "DATABASE_URL", "mongodb_uri"))
    database: str = "agora"
    embedded: bool = Field(default=False, description="Set by the launcher when it serves the database itself")
    pool_size: int = Field(default=50, ge=1, le=500)
    database_timeout_ms: int = Field(default=10_000, ge=100)

    # HTTP
    base_url: str = "http://127.0.0.1:8000"
    cors_origins: list[str] = Field(default_factory=list)
    cors_credentials: bool = False
    trusted_proxies: list[IPv4Network | IPv6Network] = Field(default_factory=list)
    max_body_bytes: int = Field(default=1_048_576, ge=1024)
    anonymous_requests: int = Field(default=300, description="Requests per window and network address")
    user_requests: int = Field(default=1500, description="Requests per window and signed-in user")
    rate_window_seconds: int = 300

    # Accounts
    session_hours: int = 24
    lock_after_failures: int = 5
    lock_minutes: int = 30
    registration_hours: int = 24
    reset_minutes: int = 60
    email_change_hours: int = 24
    login_attempts: int = Field(default=25, ge=1, description="Logins per network address in five minutes")
    account_login_attempts: int = Field(default=25, ge=1, description="Logins per typed name, or per known device, in an hour")
    register_attempts: int = Field(default=5, ge=1, description="Registrations per network or mail address in half an hour")
    reset_attempts: int = Field(default=5, ge=1, description="Reset requests per network or mail address in half an hour")
    password_checks: int = Field(default=10, ge=1, description="Times a signed-in person may give their password in an hour")
    password_hash_time_cost: int = Field(default=1, description="Argon2id passes, on one lane")
    password_hash_memory_kib: int = Field(default=47_104, description="Argon2id memory of one hash; with one pass as OWASP asks")

    # Mail
    mail_from: str = "Agora <agora@localhost>"
    smtp_host: str | None = None
    smtp_port: int = 587
    smtp_username: str | None = None
    smtp_password: SecretStr | None = None
    smtp_starttls: bool = True

    # Publication
    comments_moderated: bool = True
    comment_edit_minutes: int = Field(default=15, ge=0, description="How long their author may edit a comment")
    site_title: str = "Agora"
    views_flush_seconds: float = 1.0

    # Shop
    currency: Currency = Field(default="USD", description="Of prices, and of carts unless they say otherwise")
    tax_basis_points: BasisPoints = Field(default=1000, description="Where no tax zone says otherwise")
    prices_include_tax: bool = False
    shipping_rate: Decimal = Field(default=Decimal("10.00"), ge=0, description="Where no shipping zone says otherwise")
    free_shipping_from: Decimal = Field(default=Decimal("100.00"), ge=0, description="Subtotal from which shipping is free")
    points_per_unit: int = Field(default=1, ge=0, description="Loyalty points per whole unit of currency paid")
    reservation_minutes: int = Field(default=30, ge=1, description="How long an unpaid order holds its stock")
    return_days: int = Field(default=30, ge=0, description="After delivery")
    cart_idle_hours: int = Field(default=4, ge=1, description="A cart left alone for so long counts as abandoned")
    coupon_attempts: int = Field(default=30, ge=1, description="Codes a person, or a guest's address, may try in ten minutes")

    # Payments
    payment_gateway: str | None = Field(default=None, description="The gateway that charges; the first set up when empty")
    gateway_timeout_seconds: float = Field(default=10.0, gt=0, le=60, description="For one call to a gateway")
    sandbox_gateway_url: str | None = Field(default=None, description="Of the sandbox gateway; the launcher sets it")
    sandbox_gateway_secret: SecretStr | None = Field(default=None, description="Shared with the sandbox gateway: whsec_...")
    sandbox_in_production: bool = Field(default=False, description="Take the sandbox's play money in production")
    stripe_secret_key: SecretStr | None = None
    stripe_webhook_secret: SecretStr | None = None
    stripe_api_url: str | None = Field(default=None, description="Where Stripe's API is; for stand-ins")

    # Outbound webhooks
    webhook_networks: list[IPv4Network | IPv6Network] = Field(
        default_factory=list, description="Networks of the house to which webhooks may go; else only the public internet"
    )
    webhook_timeout_seconds: float = Field(default=15.0, gt=0, le=60, description="For one attempt, from look-up to answer")
    webhook_failing_days: int = Field(default=5, ge=1, description="An endpoint that fails for so long is switched off")

    # Live activity
    live_poll_seconds: float = Field(default=0.25, ge=0, description="How often a process looks for new events; 0: never")

    # Analytics
    report_timezone: str = Field(default="UTC", description="IANA zone of the days in reports, unless they name another")
    analytics_batches: int = Field(default=300, ge=1, description="Batches of events from one network address in five minutes")
    analytics_kept_days: int = Field(default=90, ge=3, description="How long single events are kept; figures made of them stay")

    # Worker
    worker_in_process: bool = Field(default=True, description="Run jobs and consumers inside the API process")

    @model_validator(mode="after")
    def refuse_unsafe(self) -> Self:
        """A weak secret is refused everywhere; what is only good for a laptop is refused in production."""
        secret = self.secret_key.get_secret_value()
        if secret.startswith(PLACEHOLDER_SECRET) or len(secret) < MINIMUM_SECRET_LENGTH:
            raise ValueError("AGORA_SECRET_KEY must be a random string of 32 characters or more")
        if not _is_zone(self.report_timezone):
            raise ValueError("AGORA_REPORT_TIMEZONE must be the name of a time zone, such as Europe/Berlin")
        if "*" in self.cors_origins and self.cors_credentials:
            raise ValueError("AGORA_CORS_ORIGINS cannot be * while AGORA_CORS_CREDENTIALS is on")
        if (self.stripe_secret_key is None) != (self.stripe_webhook_secret is None):
            raise ValueError("AGORA_STRIPE_SECRET_KEY and AGORA_STRIPE_WEBHOOK_SECRET come together")
        if (self.sandbox_gateway_url is None) != (self.sandbox_gateway_secret is None):
            raise ValueError("AGORA_SANDBOX_GATEWAY_URL and AGORA_SANDBOX_GATEWAY_SECRET come together")
        if self.is_production:
            if self.embedded:
                raise ValueError("production needs MONGODB_URI: the embedded server is for development")
            if self.debug:
                raise ValueError("AGORA_DEBUG cannot be on in production")
            if "*" in self.cors_origins:
                raise ValueError("AGORA_CORS_ORIGINS cannot be * in production")
            if self.smtp_host is None:
                raise ValueError("production needs AGORA_SMTP_HOST: mail on the console reaches nobody")
            if self.sandbox_gateway_url is not None and not self.sandbox_in_production:
                raise ValueError(
                    "AGORA_SANDBOX_GATEWAY_URL is play money: production takes it only with AGORA_SANDBOX_IN_PRODUCTION"
                )
            if not self.base_url.startswith("https://"):
                raise ValueError("AGORA_BASE_URL must be https in production")
        return self

    @property
    def is_production(self) -> bool:
        return self.environment is Environment.PRODUCTION

    @cached_property
    def secret_bytes(self) -> bytes:
        return self.secret_key.get_secret_value().encode()


def _is_zone(name: str) -> bool:
    try:
        ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):  # the latter two for what is a path
        return False
    return True
