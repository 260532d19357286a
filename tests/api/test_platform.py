"""What every answer has in common: problems, headers, limits, health, documentation."""

import asyncio
import json
from collections.abc import AsyncIterator
from ipaddress import ip_network
from typing import Any

import httpx2
import pytest
from fastapi import FastAPI

from api.app import VERSION, create_app
from api.client import client_info
from api.errors import STATUS_BY_FAMILY, status_of
from models.blog.taxonomy import Category
from models.database import Database, start_again
from models.users import Role
from services.errors import AppError, UnavailableError
from services.indexes import DriftKind, IndexService
from services.settings import Settings
from tests.api.conftest import SignIn


def all_subclasses(kind: type[AppError]) -> set[type[AppError]]:
    return {kind}.union(*(all_subclasses(child) for child in kind.__subclasses__()))


class TestHealth:
    async def test_alive_without_asking_anything(self, client: httpx2.AsyncClient) -> None:
        answer = await client.get("/livez")

        assert (answer.status_code, answer.json()) == (200, {"status": "ok", "version": VERSION})

    async def test_ready_with_database_and_indexes(self, client: httpx2.AsyncClient) -> None:
        answer = await client.get("/readyz")

        assert answer.status_code == 200
        assert answer.json() == {
            "ready": True,
            "database": True,
            "indexes": True,
            "worker_age_seconds": None,
            "worker": False,
        }

    async def test_not_ready_when_an_index_is_missing(self, app: FastAPI, client: httpx2.AsyncClient, database: Database) -> None:
        await database.raw["tags"].drop_index("slug_unique")
        app.state.index_drift = await IndexService.drift()

        answer = await client.get("/readyz")

        assert answer.status_code == 503
        assert answer.json()["indexes"] is False
        assert answer.headers["Retry-After"] == "2"

    @pytest.mark.swept
    async def test_application_that_opens_its_database_creates_what_misses_and_reports_what_differs(
        self, settings: Settings, database: Database
    ) -> None:
        await database.raw["tags"].drop_index("slug_unique")
        await database.raw["tags"].create_index([("nothing", 1)], name="from_elsewhere")
        app = create_app(settings)

        async with app.router.lifespan_context(app):
            assert "slug_unique" in await database.raw["tags"].index_information()
            assert [(row.kind, row.index) for row in app.state.index_drift] == [(DriftKind.UNDECLARED, "from_elsewhere")]

    async def test_metrics_name_route_templates(self, client: httpx2.AsyncClient) -> None:
        await client.get("/api/v1/blog/posts/no-such-post")

        text = (await client.get("/metrics")).text

        assert 'route="/api/v1/blog/posts/{key}"' in text
        assert "no-such-post" not in text
        assert "agora_cache_hits_total" in text


class TestProblems:
    async def test_transaction_that_was_overtaken_too_often_may_be_tried_again(
        self, client: httpx2.AsyncClient, as_role: SignIn, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """When many collide for long, the caller is told to come back, not that something broke."""
        headers = await as_role(Role.EDITOR)
        monkeypatch.setattr("models.database._TRANSACTION_SECONDS", 0.0)

        async def lose(*_: object, **__: object) -> None:
            raise start_again("somebody else was faster")

        monkeypatch.setattr("services.events.EventService.record", lose)

        answer = await client.post("/api/v1/blog/categories", json={"name": "Contended"}, headers=headers)

        assert (answer.status_code, answer.json()["code"]) == (503, "too_much_at_once")
        assert answer.headers["Retry-After"] == "1"
        assert await Category.find_rows({}) == []

    async def test_unknown_path(self, client: httpx2.AsyncClient) -> None:
        answer = await client.get("/api/v1/nothing", headers={"X-Request-ID": "from-the-caller"})

        assert answer.headers["Content-Type"] == "application/problem+json"
        assert answer.json() == {
            "type": "about:blank",
            "title": "Not Found",
            "status": 404,
            "detail": "There is nothing at this path.",
            "code": "no_such_path",
            "instance": "/api/v1/nothing",
            "request_id": "from-the-caller",
            "errors": [],
        }

    async def test_unknown_method_lists_every_method_of_the_path(self, client: httpx2.AsyncClient) -> None:
        answer = await client.delete("/api/v1/blog/posts")

        assert answer.status_code == 405
        assert answer.headers["Allow"] == "GET, HEAD, POST"

    @pytest.mark.parametrize("path", ["/livez", "/api/v1/blog/posts", "/api/v1/blog/posts/no-such-post", "/feed.atom", "/docs"])
    async def test_head_is_get_without_the_body(self, client: httpx2.AsyncClient, path: str) -> None:
        whole, head = await client.get(path), await client.head(path)

        assert (head.status_code, head.content) == (whole.status_code, b"")
        assert head.headers["content-type"] == whole.headers["content-type"]
        assert head.headers["content-length"] == whole.headers["content-length"]

    async def test_head_of_what_is_only_written_to_is_405(self, client: httpx2.AsyncClient) -> None:
        answer = await client.head("/api/v1/auth/login")

        assert (answer.status_code, answer.headers["allow"], answer.content) == (405, "POST", b"")

    async def test_malformed_input_points_at_the_field_and_does_not_repeat_it(self, client: httpx2.AsyncClient) -> None:
        answer = await client.post("/api/v1/auth/login", json={"login": 17, "password": "hunter2-hunter2"})

        assert answer.status_code == 422
        assert answer.json()["errors"] == [
            {"pointer": "/login", "message": "Input should be a valid string", "code": "string_type"}
        ]
        assert "hunter2" not in answer.text

    async def test_unexpected_error_tells_nothing(self, app: FastAPI, client: httpx2.AsyncClient) -> None:
        async def broken() -> None:
            raise RuntimeError("secret detail")

        app.add_api_route("/broken", broken)

        answer = await client.get("/broken")

        assert answer.status_code == 500
        assert answer.json()["code"] == "internal_error"
        assert "secret detail" not in answer.text

    def test_every_error_has_a_status_a_sentence_and_a_code_of_its_own(self) -> None:
        errors = all_subclasses(AppError) - STATUS_BY_FAMILY.keys() - {AppError}

        assert all(error.__doc__ for error in errors)
        assert all(status_of(error) < 500 or issubclass(error, UnavailableError) for error in errors)
        codes = [error.code for error in all_subclasses(AppError) - {AppError}]
        assert len(set(codes)) == len(codes)


class TestHeaders:
    async def test_security_headers_on_answers_and_on_problems(self, client: httpx2.AsyncClient) -> None:
        for path in ("/livez", "/api/v1/nothing"):
            headers = (await client.get(path)).headers
            assert headers["X-Content-Type-Options"] == "nosniff"
            assert headers["Content-Security-Policy"] == "default-src 'none'; frame-ancestors 'none'"
            assert headers["X-Frame-Options"] == "DENY"

    async def test_strange_request_id_is_replaced(self, client: httpx2.AsyncClient) -> None:
        answer = await client.get("/livez", headers={"X-Request-ID": "<script>alert(1)</script>"})

        assert len(answer.headers["X-Request-ID"]) == 32

    async def test_openapi_document_is_made_once_for_all_who_ask_and_not_told_again(
        self, app: FastAPI, client: httpx2.AsyncClient, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        made: list[int] = []

        def make() -> dict[str, Any]:
            made.append(len(made) + 1)
            return {"info": {"title": "Agora", "made": len(made)}}

        monkeypatch.setattr(app, "openapi", make)
        first, second = await asyncio.gather(client.get("/openapi.json"), client.get("/openapi.json"))
        again = await client.get("/openapi.json", headers={"If-None-Match": first.headers["etag"]})

        assert first.json() == second.json() == {"info": {"title": "Agora", "made": 1}}
        assert (again.status_code, again.content, made) == (304, b"", [1])

    async def test_documentation_names_no_other_host(self, client: httpx2.AsyncClient) -> None:
        for path in ("/docs", "/redoc"):
            answer = await client.get(path)
            assert answer.status_code == 200
            assert "https://" not in answer.text
            assert "'unsafe-inline'" not in answer.headers["Content-Security-Policy"].split("style-src")[0]
        assert (await client.get("/static/documentation/swagger-ui-bundle.js")).status_code == 200


class TestOtherSites:
    @pytest.fixture
    async def browser(self, settings: Settings) -> AsyncIterator[httpx2.AsyncClient]:
        """What scripts of another site have: it sends where they come from."""
        app = create_app(settings.model_copy(update={"cors_origins": ["https://friend.example"]}))
        async with httpx2.AsyncClient(transport=httpx2.ASGITransport(app=app), base_url="http://agora.test") as connected:
            yield connected

    async def test_a_configured_one_may_send_and_read_what_callers_need(self, browser: httpx2.AsyncClient) -> None:
        origin = {"Origin": "https://friend.example"}
        wanted = "authorization,cart-token,content-type,idempotency-key,if-match"
        asking = {"Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": wanted}

        before = await browser.options("/api/v1/shop/checkout", headers=origin | asking)
        answer = await browser.get("/livez", headers=origin)

        assert before.status_code == 200
        assert before.headers["access-control-allow-origin"] == "https://friend.example"
        assert answer.headers["access-control-allow-origin"] == "https://friend.example"
        assert {"ETag", "Idempotent-Replayed", "Retry-After"} < set(answer.headers["access-control-expose-headers"].split(", "))

    async def test_another_may_not(self, browser: httpx2.AsyncClient) -> None:
        answer = await browser.get("/livez", headers={"Origin": "https://stranger.example"})

        assert "access-control-allow-origin" not in answer.headers


class TestBodies:
    async def test_announced_body_over_the_limit(self, client: httpx2.AsyncClient, settings: Settings) -> None:
        answer = await client.post("/api/v1/auth/login", content=b"x" * (settings.max_body_bytes + 1))

        assert (answer.status_code, answer.json()["code"]) == (413, "body_too_large")

    async def test_chunked_body_over_the_limit(self, client: httpx2.AsyncClient, settings: Settings) -> None:
        async def chunks() -> AsyncIterator[bytes]:
            for _ in range(settings.max_body_bytes // 65_536 + 2):
                yield b" " * 65_536

        answer = await client.post("/api/v1/auth/login", content=chunks(), headers={"Content-Type": "application/json"})

        assert (answer.status_code, answer.json()["code"]) == (413, "body_too_large")

    async def test_other_content_type(self, client: httpx2.AsyncClient) -> None:
        answer = await client.post("/api/v1/auth/login", data={"login": "a"})

        assert answer.status_code == 415

    @pytest.mark.parametrize("text", ["a\0b", "a\\u0000b"])
    async def test_nul_character(self, client: httpx2.AsyncClient, text: str) -> None:
        body = b'{"login": "%s", "password": "x"}' % text.encode()

        answer = await client.post("/api/v1/auth/login", content=body, headers={"Content-Type": "application/json"})

        assert (answer.status_code, answer.json()["code"]) == (422, "nul_character")

    async def test_nul_in_path_and_query(self, client: httpx2.AsyncClient) -> None:
        for path in ("/api/v1/blog/posts/a%00b", "/api/v1/blog/posts?page=%00"):
            assert (await client.get(path)).status_code == 422

    async def test_escaped_backslash_before_u0000_is_no_nul(self, client: httpx2.AsyncClient) -> None:
        body = json.dumps({"login": "a\\u0000b", "password": "x"}).encode()

        answer = await client.post("/api/v1/auth/login", content=body, headers={"Content-Type": "application/json"})

        assert answer.status_code == 401


@pytest.mark.usefixtures("one_window")
class TestRateLimit:
    @pytest.fixture
    def settings(self, settings: Settings) -> Settings:
        return settings.model_copy(update={"anonymous_requests": 3, "user_requests": 5})

    async def test_headers_count_down_and_the_next_is_refused(self, client: httpx2.AsyncClient) -> None:
        answers = [await client.get("/api/v1/blog/categories") for _ in range(4)]

        assert [answer.status_code for answer in answers] == [200, 200, 200, 429]
        assert [answer.headers["RateLimit"].split(";")[1] for answer in answers] == ["r=2", "r=1", "r=0", "r=0"]
        assert answers[0].headers["RateLimit-Policy"] == '"default";q=3;w=300'
        assert 0 < int(answers[3].headers["Retry-After"]) <= 300

    async def test_person_is_counted_apart_from_their_address(self, client: httpx2.AsyncClient, as_role: SignIn) -> None:
        headers = await as_role()
        for _ in range(4):
            await client.get("/api/v1/blog/categories")

        answers = [await client.get("/api/v1/blog/categories", headers=headers) for _ in range(6)]

        assert [answer.status_code for answer in answers] == [200] * 5 + [429]

    async def test_invalid_tokens_share_the_window_of_their_address(self, client: httpx2.AsyncClient) -> None:
        answers = [await client.get("/api/v1/blog/categories", headers={"Authorization": f"Bearer wrong-{n}"}) for n in range(4)]

        assert answers[3].status_code == 429

    async def test_sign_in_by_page_shares_the_window_of_its_address(self, client: httpx2.AsyncClient) -> None:
        answers = [await client.get("/dashboard/login"), await client.post("/dashboard/login"), await client.get("/admin")]
        refused = await client.post("/dashboard/login")
        api = await client.get("/api/v1/blog/categories")

        assert [answer.status_code for answer in answers] == [200, 403, 303]
        assert refused.status_code == api.status_code == 429
        assert refused.headers["Content-Type"].startswith("text/html")
        assert 0 < int(refused.headers["Retry-After"]) <= 300

    async def test_pages_take_nothing_from_what_programs_may_ask(self, client: httpx2.AsyncClient, as_role: SignIn) -> None:
        headers = await as_role(Role.EDITOR)
        client.cookies.set("agora_session", headers["Authorization"].removeprefix("Bearer "))
        pages = [await client.get("/dashboard/parts/overview") for _ in range(6)]

        assert [page.status_code for page in pages] == [403] * 5 + [429]
        assert (await client.get("/api/v1/blog/categories", headers=headers)).status_code == 200

    async def test_health_is_not_limited(self, client: httpx2.AsyncClient) -> None:
        assert {(await client.get("/livez")).status_code for _ in range(6)} == {200}


class TestClientAddress:
    def scope(self, peer: str, forwarded: str | None = None) -> dict[str, object]:
        headers = [(b"x-forwarded-for", forwarded.encode())] if forwarded else []
        return {"client": (peer, 1), "headers": headers}

    def test_forwarded_address_is_ignored_from_strangers(self) -> None:
        assert client_info(self.scope("203.0.113.7", "10.0.0.1"), []).address == "203.0.113.7"

    def test_nearest_untrusted_address_behind_proxies(self) -> None:
        trusted = [ip_network("10.0.0.0/8")]

        found = client_info(self.scope("10.0.0.2", "1.2.3.4, 203.0.113.7, 10.0.0.1"), trusted)

        assert found.address == "203.0.113.7"

    def test_ipv6_counts_by_subscriber_and_mapped_ipv4_as_ipv4(self) -> None:
        one = client_info(self.scope("2001:db8:1:2:aaaa::1"), []).address
        other = client_info(self.scope("2001:db8:1:2:bbbb::9"), []).address

        assert one == other == "2001:db8:1:2::/64"
        assert client_info(self.scope("::ffff:203.0.113.7"), []).address == "203.0.113.7"

    def test_nonsense_is_unknown(self) -> None:
        assert client_info(self.scope("10.0.0.2", "'; drop"), [ip_network("10.0.0.0/8")]).address == "unknown"
