"""Settings: what the environment is called, and what is refused where."""

from typing import Any

import pytest
from pydantic import ValidationError

from services.settings import Environment, Settings

SECRET = "0123456789abcdef0123456789abcdef"
PRODUCTION: dict[str, Any] = {
    "environment": Environment.PRODUCTION,
    "secret_key": SECRET,
    "mongodb_uri": "mongodb://db.example/?replicaSet=rs0",
    "base_url": "https://agora.example",
    "smtp_host": "smtp.example",
}


def make_settings(**over: Any) -> Settings:
    return Settings(_env_file=None, **{"secret_key": SECRET, "mongodb_uri": "mongodb://127.0.0.1:1", **over})


@pytest.fixture(autouse=True)
def _clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("MONGODB_URI", "DATABASE_URL", "LOG_LEVEL", "AGORA_SECRET_KEY"):
        monkeypatch.delenv(name, raising=False)


class TestEnvironment:
    @pytest.mark.parametrize("name", ["MONGODB_URI", "DATABASE_URL"])
    def test_x25_database_address_has_both_names(self, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
        monkeypatch.setenv("AGORA_SECRET_KEY", SECRET)
        monkeypatch.setenv(name, "mongodb://named.example")

        assert Settings(_env_file=None).mongodb_uri == "mongodb://named.example"

    def test_x25_log_level_is_info_unless_said(self, monkeypatch: pytest.MonkeyPatch) -> None:
        assert make_settings().log_level == "INFO"
        monkeypatch.setenv("LOG_LEVEL", "DEBUG")
        assert make_settings().log_level == "DEBUG"

    def test_secret_has_no_default(self) -> None:
        with pytest.raises(ValidationError, match="secret_key"):
            Settings(_env_file=None, mongodb_uri="mongodb://127.0.0.1:1")

    def test_secret_is_not_shown(self) -> None:
        settings = make_settings()

        assert SECRET not in repr(settings)
        assert SECRET not in str(settings.model_dump())
        assert settings.secret_bytes == SECRET.encode()


class TestRefuseUnsafe:
    @pytest.mark.parametrize("secret", ["", "short", "a" * 31, "change-me", "change-me-change-me-change-me-change-me"])
    def test_s17_weak_or_placeholder_secret_is_refused_everywhere(self, secret: str) -> None:
        with pytest.raises(ValidationError, match="AGORA_SECRET_KEY"):
            make_settings(secret_key=secret)

    def test_s17_wildcard_origin_with_credentials_is_refused_everywhere(self) -> None:
        with pytest.raises(ValidationError, match="AGORA_CORS_ORIGINS"):
            make_settings(cors_origins=["*"], cors_credentials=True)

    def test_safe_production_is_accepted(self) -> None:
        assert make_settings(**PRODUCTION).is_production

    @pytest.mark.parametrize(
        ("over", "named"),
        [
            ({"embedded": True}, "MONGODB_URI"),
            ({"debug": True}, "AGORA_DEBUG"),
            ({"cors_origins": ["*"]}, "AGORA_CORS_ORIGINS"),
            ({"smtp_host": None}, "AGORA_SMTP_HOST"),
            ({"base_url": "http://agora.example"}, "AGORA_BASE_URL"),
            ({"sandbox_gateway_url": "http://127.0.0.1:1", "sandbox_gateway_secret": "whsec_YQ=="}, "play money"),
        ],
    )
    def test_s17_what_is_only_good_for_a_laptop_is_refused_in_production(self, over: dict[str, Any], named: str) -> None:
        with pytest.raises(ValidationError, match=named):
            make_settings(**{**PRODUCTION, **over})

        assert make_settings(**{**over, "environment": Environment.DEVELOPMENT}).is_production is False

    def test_play_money_is_taken_in_production_when_it_is_asked_for(self) -> None:
        sandbox = {"sandbox_gateway_url": "http://127.0.0.1:1", "sandbox_gateway_secret": "whsec_YQ=="}
        assert make_settings(**PRODUCTION, **sandbox, sandbox_in_production=True).is_production

    @pytest.mark.parametrize(
        "half", [{"sandbox_gateway_url": "http://127.0.0.1:1"}, {"stripe_secret_key": "sk"}, {"stripe_webhook_secret": "whsec"}]
    )
    def test_half_a_gateway_is_refused(self, half: dict[str, Any]) -> None:
        with pytest.raises(ValidationError, match="come together"):
            make_settings(**half)


class TestReports:
    def test_days_are_those_of_a_known_zone(self) -> None:
        assert make_settings().report_timezone == "UTC"
        assert make_settings(report_timezone="Australia/Lord_Howe").report_timezone == "Australia/Lord_Howe"

    @pytest.mark.parametrize("name", ["", "Nowhere/City", "../etc/passwd", "/etc/localtime", "Europe"])
    def test_other_names_are_refused(self, name: str) -> None:
        with pytest.raises(ValidationError, match="AGORA_REPORT_TIMEZONE"):
            make_settings(report_timezone=name)
