"""What the compose file, the Dockerfile, the example environment and the operations page promise, against the code."""

import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from pymongo.uri_parser import parse_uri

from api.app import create_app
from scripts.worker import main as worker_main
from services.settings import Environment, Settings

ROOT = Path(__file__).parents[2]
GIVEN = {
    "AGORA_SECRET_KEY": "k" * 48,
    "AGORA_BASE_URL": "https://agora.example.com",
    "AGORA_SMTP_HOST": "smtp.example.com",
}


def setting_names() -> set[str]:
    """The environment's name of every setting."""
    return {name for field in Settings.model_fields for name in names_of(field)}


def names_of(field: str) -> set[str]:
    choices = getattr(Settings.model_fields[field].validation_alias, "choices", None)
    return {str(choice) for choice in choices if str(choice).isupper()} if choices else {f"AGORA_{field.upper()}"}


def substituted(text: str) -> str:
    """`text` as compose reads it with `GIVEN` in the environment."""

    def value(found: re.Match[str]) -> str:
        name, kind, rest = found.groups()
        if name in GIVEN:
            return GIVEN[name]
        assert kind == ":-", f"{name} has no value"
        return rest

    return re.sub(r"\$\{(\w+)(:[-?])([^}]*)\}", value, text)


@pytest.fixture(scope="module")
def compose() -> dict[str, Any]:
    parsed: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
    return parsed


@pytest.fixture(scope="module")
def dockerfile() -> str:
    return (ROOT / "Dockerfile").read_text()


class TestCompose:
    def test_has_database_api_and_worker_each_with_a_health_check_and_restarts(self, compose: dict[str, Any]) -> None:
        services = compose["services"]
        assert set(services) == {"mongodb", "api", "worker"}
        assert all(service["restart"] == "unless-stopped" for service in services.values())
        assert "healthcheck" in services["mongodb"]
        assert "healthcheck" in services["worker"]
        assert "healthcheck" not in services["api"], "the image's own asks the API"
        for name in ("api", "worker"):
            assert services[name]["depends_on"] == {"mongodb": {"condition": "service_healthy"}}

    def test_mongodb_is_a_replica_set_that_nothing_outside_reaches(self, compose: dict[str, Any]) -> None:
        mongodb = compose["services"]["mongodb"]
        assert mongodb["image"].startswith("mongo:8")
        assert mongodb["command"][1:3] == ["--replSet", "rs0"]
        assert "transactionLifetimeLimitSeconds=30" in mongodb["command"]
        assert 'rs.initiate({_id: "rs0", members: [{_id: 0, host: "mongodb:27017"}]})' in mongodb["healthcheck"]["test"][-1]
        assert "ports" not in mongodb
        assert mongodb["user"] == "mongodb"
        assert {volume.partition(":")[0] for volume in mongodb["volumes"]} == set(compose["volumes"])

    @pytest.mark.parametrize("name", ["api", "worker"])
    def test_environment_names_only_settings_and_production_accepts_it(
        self, compose: dict[str, Any], name: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        environment = compose["services"][name]["environment"]
        assert set(environment) <= setting_names()
        for key, value in environment.items():
            if value is not None:
                monkeypatch.setenv(key, substituted(str(value)))

        settings = Settings(_env_file=None)

        assert settings.environment is Environment.PRODUCTION
        assert not settings.worker_in_process
        options = parse_uri(settings.mongodb_uri)
        assert options["nodelist"] == [("mongodb", 27017)]
        assert options["options"]["w"] == "majority"
        assert options["options"]["readConcernLevel"] == "majority"
        assert options["options"]["replicaSet"] == "rs0"

    @pytest.mark.parametrize("name", ["api", "worker"])
    def test_whatever_else_is_set_in_env_reaches_agora(self, compose: dict[str, Any], name: str) -> None:
        assert compose["services"][name]["env_file"] == [{"path": ".env", "required": False}]

    def test_holds_no_secret_and_refuses_to_start_without_one(self, compose: dict[str, Any]) -> None:
        for name in ("api", "worker"):
            environment = compose["services"][name]["environment"]
            assert environment["AGORA_SECRET_KEY"].startswith("${AGORA_SECRET_KEY:?")
            assert environment["AGORA_SMTP_PASSWORD"] is None

    def test_ports_agree(self, compose: dict[str, Any], dockerfile: str) -> None:
        api = compose["services"]["api"]
        port = api["command"][api["command"].index("--port") + 1]
        assert api["ports"] == [f"127.0.0.1:${{PORT:-8000}}:{port}"]
        assert f"EXPOSE {port}\n" in dockerfile
        assert f"http://127.0.0.1:{port}/livez" in dockerfile
        assert f'"--port", "{port}"]' in dockerfile

    def test_worker_is_checked_by_a_command_that_exists(self, compose: dict[str, Any]) -> None:
        assert compose["services"]["worker"]["healthcheck"]["test"][1:] == ["python", "-m", "scripts.worker", "--check"]
        assert "check" in worker_main.__annotations__


class TestDockerfile:
    def test_runs_as_nobody_in_particular_on_a_supported_python(self, dockerfile: str) -> None:
        found = re.search(r"^FROM python:3\.(\d+)-slim$", dockerfile, re.MULTILINE)
        assert found is not None
        assert int(found.group(1)) >= 11
        users = re.findall(r"^USER (\w+)$", dockerfile, re.MULTILINE)
        assert users == ["agora"]
        assert "useradd --system --uid 10001" in dockerfile

    def test_installs_from_the_constraints_of_a_lane(self, dockerfile: str) -> None:
        assert "-c constraints/${LANE}.txt" in dockerfile
        assert "ARG LANE=pymongo" in dockerfile
        assert '".[${LANE},stripe]"' in dockerfile, "without a gateway there is no shop"

    def test_health_path_is_served(self, dockerfile: str, settings: Settings) -> None:
        path = re.search(r"127\.0\.0\.1:8000(/\w+)", dockerfile)
        assert path is not None
        assert path.group(1) in {getattr(route, "path", "") for route in create_app(settings).routes}

    def test_copies_what_the_context_holds_and_nothing_private(self, dockerfile: str) -> None:
        allowed = [line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")]
        sources = [name for line in re.findall(r"^COPY (.+) \S+$", dockerfile, re.MULTILINE) for name in line.split()]
        assert sorted(sources) == sorted(allowed)
        assert all((ROOT / name).exists() for name in sources)
        assert (ROOT / ".dockerignore").read_text().startswith("*\n")


class TestEnvironmentExample:
    def values(self) -> dict[str, str]:
        lines = (ROOT / ".env.example").read_text().splitlines()
        pairs = [line.removeprefix("#").partition("=") for line in lines if re.match(r"#?[A-Z_]+=", line)]
        return {name: value for name, _, value in pairs}

    def test_names_only_settings_and_all_that_compose_demands(self) -> None:
        demanded = set(re.findall(r"\$\{(\w+):\?", (ROOT / "docker-compose.yml").read_text()))
        assert demanded <= set(self.values()) <= setting_names()

    def test_its_placeholder_secret_is_refused(self, monkeypatch: pytest.MonkeyPatch) -> None:
        for name, value in self.values().items():
            monkeypatch.setenv(name, value)
        with pytest.raises(ValueError, match="AGORA_SECRET_KEY must be a random string"):
            Settings(_env_file=None)

    def test_is_accepted_once_the_secret_is_filled_in(self, monkeypatch: pytest.MonkeyPatch) -> None:
        for name, value in self.values().items():
            monkeypatch.setenv(name, value)
        monkeypatch.setenv("AGORA_SECRET_KEY", "k" * 48)
        assert Settings(_env_file=None).is_production


class TestOperationsPage:
    def rows(self) -> dict[str, str]:
        text = (ROOT / "docs" / "operations.md").read_text()
        return dict(re.findall(r"^\| `([A-Z_]+)` \| ([^|]*) \|", text, re.MULTILINE))

    def test_lists_every_setting_and_no_other(self) -> None:
        launcher = {"AGORA_DATA"}
        internal = {"AGORA_EMBEDDED", "DATABASE_URL"}  # set by the launcher; another name of MONGODB_URI
        assert set(self.rows()) - launcher == setting_names() - internal

    def test_states_the_defaults_of_the_code(self) -> None:
        rows, seen = self.rows(), set()
        for name, field in Settings.model_fields.items():
            stated = next(filter(None, map(rows.get, names_of(name))), None)
            if stated is not None:
                seen.add(name)
                default = None if field.is_required() else field.get_default(call_default_factory=True)
                assert stated.strip().strip("`") == ("-" if default is None else str(default)), name
        assert seen == Settings.model_fields.keys() - {"embedded"}
