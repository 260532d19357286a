"""RELIABILITY S10: no spelling of an inside address gets a connection."""

from collections.abc import AsyncIterator
from ipaddress import ip_network

import httpx2
import pytest

from services.settings import Settings
from services.webhooks.guard import OutboundPolicy, UnsafeUrlError, checked_addresses, parse_url, resolve_name
from services.webhooks.sending import WebhookSender
from tests.receivers import Receiver, receiving, with_loopback

DEVELOPMENT = OutboundPolicy(allows_http=True)
PRODUCTION = OutboundPolicy()

# Ways to write an address of the inside; {port} is where the canary listens.
SPELLINGS = [
    "http://127.0.0.1:{port}/",
    "http://127.1:{port}/",
    "http://127.0.1:{port}/",
    "http://2130706433:{port}/",
    "http://0x7f000001:{port}/",
    "http://0x7f.0.0.1:{port}/",
    "http://0x7f.1:{port}/",
    "http://017700000001:{port}/",
    "http://0177.0.0.1:{port}/",
    "http://0177.0.0.01:{port}/",
    "http://127.0.0.1.:{port}/",
    "http://127.0.0.1%2f:{port}/",
    "http://%31%32%37.0.0.1:{port}/",
    "http://127。0。0。1:{port}/",
    "http://１２７.0.0.1:{port}/",
    "http://①②⑦.⓪.⓪.①:{port}/",
    "http://0.0.0.0:{port}/",
    "http://0:{port}/",
    "http://0.0.0.1:{port}/",
    "http://127.255.255.254:{port}/",
    "http://localhost:{port}/",
    "http://LOCALHOST:{port}/",
    "http://localhost.:{port}/",
    "http://localhost.localdomain:{port}/",
    "http://[::1]:{port}/",
    "http://[0:0:0:0:0:0:0:1]:{port}/",
    "http://[::]:{port}/",
    "http://[::ffff:127.0.0.1]:{port}/",
    "http://[::ffff:7f00:1]:{port}/",
    "http://[::127.0.0.1]:{port}/",
    "http://[64:ff9b::127.0.0.1]:{port}/",
    "http://[64:ff9b:1::7f00:1]:{port}/",
    "http://[2002:7f00:1::]:{port}/",
    "http://[2001:0:7f00:1::]:{port}/",
    "http://[::ffff:0:127.0.0.1]:{port}/",
    "http://[fe80::1%25lo]:{port}/",
    "http://[fd00:ec2::254]:{port}/",
    "http://[fec0::1]:{port}/",
    "http://[ff02::1]:{port}/",
    "http://169.254.169.254:{port}/latest/meta-data/",
    "http://2852039166:{port}/",
    "http://0xa9fea9fe:{port}/",
    "http://100.100.100.200:{port}/",
    "http://168.63.129.16:{port}/",
    "http://192.0.0.192:{port}/",
    "http://10.0.0.1:{port}/",
    "http://172.16.0.1:{port}/",
    "http://192.168.0.1:{port}/",
    "http://100.64.0.1:{port}/",
    "http://198.18.0.1:{port}/",
    "http://224.0.0.1:{port}/",
    "http://255.255.255.255:{port}/",
    "http://240.0.0.1:{port}/",
    "http://example.com@127.0.0.1:{port}/",
    "http://127.0.0.1:{port}@example.com/",
    "http://user:secret@127.0.0.1:{port}/",
    "http://@127.0.0.1:{port}/",
    "http://example.com\\@127.0.0.1:{port}/",
    "http://127.0.0.1:{port}\\.example.com/",
    "http://127.0.0.1:{port}#@example.com/",
    "http://127.0.0.1\t:{port}/",
    "http://127.0.0.1:{port}/ HTTP/1.1\r\nHost: x\r\n",
    "//127.0.0.1:{port}/",
    "http:127.0.0.1:{port}/",
    "http:///127.0.0.1:{port}/",
    "http://:{port}/",
    "ftp://127.0.0.1:{port}/",
    "file:///etc/passwd",
    "gopher://127.0.0.1:{port}/_x",
    "javascript:alert(1)",
    "data:text/plain,x",
    "http+unix://%2Fvar%2Frun%2Fdocker.sock/",
    "http://inside.example:{port}/",  # names whose addresses the resolver below knows
    "http://metadata.example:{port}/",
    "http://mixed.example:{port}/",
    "http://mapped.example:{port}/",
    "http://nothing.example:{port}/",
]
NAMES = {
    "inside.example": ["127.0.0.1"],
    "metadata.example": ["169.254.169.254"],
    "mixed.example": ["93.184.215.14", "127.0.0.1"],  # one good address makes the others no better
    "mapped.example": ["::ffff:127.0.0.1"],
    "nothing.example": [],
    "public.example": ["93.184.215.14"],
    "public6.example": ["2606:2800:21f:cb07:6820:80da:af6b:8b2c"],
}


async def resolve(host: str, port: int) -> list[str]:
    return NAMES[host] if host in NAMES else await resolve_name(host, port)


@pytest.fixture
async def canary() -> AsyncIterator[Receiver]:
    async with receiving() as listening:
        yield listening


class TestCanary:
    async def test_s10_no_spelling_of_the_inside_gets_a_connection(self, settings: Settings, canary: Receiver) -> None:
        sender = WebhookSender(settings.model_copy(update={"webhook_timeout_seconds": 2.0}), resolver=resolve)
        answered = []

        for spelling in SPELLINGS:
            url = spelling.format(port=canary.port)
            outcome = await sender.send(url, body="{}", headers={})
            if outcome.status is not None or outcome.error in (None, "ConnectError", "ConnectTimeout"):
                answered.append((url, outcome))  # the guard lets nothing come to the point of connecting

        assert len(SPELLINGS) >= 40
        assert answered == []
        assert canary.connections_count == 0
        await sender.aclose()

    async def test_s10_they_are_refused_at_registration_too(self, settings: Settings) -> None:
        for spelling in SPELLINGS:
            with pytest.raises(UnsafeUrlError):
                await checked_addresses(
                    parse_url(spelling.format(port=80), policy=DEVELOPMENT), policy=DEVELOPMENT, resolver=resolve
                )

    async def test_s10_resolver_that_changes_its_mind_gains_nothing(self, settings: Settings, canary: Receiver) -> None:
        """Rebinding: public when looked up for the check, loopback ever after. There is no look-up after the check."""
        asked: list[str] = []

        async def rebind(host: str, port: int) -> list[str]:
            asked.append(host)
            return ["198.51.100.1" if len(asked) % 2 else "127.0.0.1"]

        policy = OutboundPolicy(networks=(ip_network("198.51.100.0/24"),), allows_http=True)
        url = parse_url(f"http://rebind.example:{canary.port}/", policy=policy)
        assert await checked_addresses(url, policy=policy, resolver=rebind) == ["198.51.100.1"]

        over = {"webhook_networks": list(policy.networks), "webhook_timeout_seconds": 0.3}
        sender = WebhookSender(settings.model_copy(update=over), resolver=rebind)
        refused = await sender.send(str(url), body="{}", headers={})
        assert refused.error == "its host is neither on the public internet nor in AGORA_WEBHOOK_NETWORKS"
        await sender.send(str(url), body="{}", headers={})  # to the address that was checked, where nobody is

        assert len(asked) == 3
        assert canary.connections_count == 0
        await sender.aclose()

    async def test_s10_redirects_are_not_followed(self, settings: Settings, canary: Receiver) -> None:
        async with receiving() as door:
            location = f"location: {canary.url}".encode()
            door.answer = lambda request: b"HTTP/1.1 307 Go\r\ncontent-length: 0\r\n" + location + b"\r\n\r\n"
            sender = WebhookSender(with_loopback(settings))
            outcome = await sender.send(door.url, body="{}", headers={})
            await sender.aclose()

        assert (outcome.status, outcome.is_success) == (307, False)
        assert canary.connections_count == 0


class TestParseUrl:
    @pytest.mark.parametrize(
        ("text", "stored"),
        [
            ("https://public.example/hook", "https://public.example/hook"),
            ("https://PUBLIC.example:443/hook?a=b", "https://public.example/hook?a=b"),
            ("https://bücher.example/", "https://xn--bcher-kva.example/"),
            ("https://93.184.215.14/", "https://93.184.215.14/"),
            ("https://[2606:2800::1]:8443/", "https://[2606:2800::1]:8443/"),
        ],
    )
    def test_receivers_are_accepted_in_one_form(self, text: str, stored: str) -> None:
        parsed = parse_url(text, policy=PRODUCTION)
        assert parsed.raw_host == httpx2.URL(stored).raw_host
        assert (parsed.scheme, parsed.raw_path) == ("https", httpx2.URL(stored).raw_path)

    def test_http_is_for_development(self) -> None:
        with pytest.raises(UnsafeUrlError, match="only https"):
            parse_url("http://public.example/", policy=PRODUCTION)
        assert parse_url("http://public.example/", policy=DEVELOPMENT).scheme == "http"

    def test_overlong_is_refused(self) -> None:
        with pytest.raises(UnsafeUrlError, match="too long"):
            parse_url("https://public.example/" + "a" * 500, policy=PRODUCTION)


class TestCheckedAddresses:
    @pytest.mark.parametrize("name", ["public.example", "public6.example"])
    async def test_public_ones_are_what_is_connected_to(self, name: str) -> None:
        url = parse_url(f"https://{name}/", policy=PRODUCTION)
        assert await checked_addresses(url, policy=PRODUCTION, resolver=resolve) == NAMES[name]

    async def test_ports_of_other_services_are_refused(self) -> None:
        url = parse_url("https://public.example:22/", policy=PRODUCTION)
        with pytest.raises(UnsafeUrlError, match="port 22"):
            await checked_addresses(url, policy=PRODUCTION, resolver=resolve)

    async def test_networks_of_the_house_may_be_allowed_on_any_port(self) -> None:
        policy = OutboundPolicy(networks=(ip_network("127.0.0.0/8"),))
        url = parse_url("https://inside.example:9000/", policy=policy)
        assert await checked_addresses(url, policy=policy, resolver=resolve) == ["127.0.0.1"]
        for other in ("https://[::ffff:127.0.0.1]/", "https://10.0.0.1/", "https://mapped.example/"):
            with pytest.raises(UnsafeUrlError):
                await checked_addresses(parse_url(other, policy=policy), policy=policy, resolver=resolve)
