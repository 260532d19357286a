"""Where webhooks may go: the guard against requests that would reach the inside (SSRF, RELIABILITY S10).

A name is resolved once, every address it has is checked, and the connection goes to a checked address: no second look-up can
answer otherwise. The check is by address, so it does not matter how an address was spelt or which name leads to it.
"""

import asyncio
import re
import socket
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import TypeAlias

import httpx2

from services.errors import RuleViolatedError
from services.settings import Settings

Address: TypeAlias = IPv4Address | IPv6Address
Network: TypeAlias = IPv4Network | IPv6Network
Resolver: TypeAlias = Callable[[str, int], Awaitable[list[str]]]

MAX_URL_LENGTH = 500
_PORTS = {"https": frozenset({443, 8443}), "http": frozenset({80, 8080})}  # towards the public; own networks may use any
_DNS_SECONDS = 5.0

_LABEL = r"[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?"
_HOST = re.compile(rf"(?=.{{1,253}}\Z){_LABEL}(?:\.{_LABEL})*\Z")
# What the C library takes for a number in a last label: 127.1, 0x7f.1, 017700000001.
_NUMERIC = re.compile(r"(?:\d+|0x[0-9a-f]*)\Z")

# Not told apart by `is_global` everywhere, and nobody's webhook receiver.
_REFUSED_V4 = [
    ip_network("192.0.0.0/24"),  # protocol assignments
    ip_network("192.88.99.0/24"),  # 6to4 relays
    ip_network("168.63.129.16/32"),  # a cloud's host service under a public address
]
# Of IPv6 only what is globally assigned; so no v4-mapped, NAT64, unique local, link-local or multicast address gets through.
_PUBLIC_V6 = ip_network("2000::/3")
_REFUSED_V6 = [
    ip_network("2001::/23"),  # Teredo, ORCHID and other protocols
    ip_network("2001:db8::/32"),
    ip_network("2002::/16"),  # 6to4 holds an IPv4 address
    ip_network("3fff::/20"),
]

# Look-ups of slow name servers must not take the threads that everything else of the process waits for.
_DNS_THREADS = ThreadPoolExecutor(32, thread_name_prefix="webhook-dns")


class UnsafeUrlError(RuleViolatedError):
    """A URL to which no webhook may be sent, for the reason given."""

    code = "unsafe_webhook_url"

    def __init__(self, reason: str) -> None:
        super().__init__(f"No webhook can be sent to this URL: {reason}.")
        self.reason = reason


@dataclass(frozen=True, slots=True)
class OutboundPolicy:
    """What is allowed beyond public https: networks of the house, and http in development."""

    networks: tuple[Network, ...] = ()
    allows_http: bool = False

    @classmethod
    def of(cls, settings: Settings) -> "OutboundPolicy":
        return cls(tuple(settings.webhook_networks), allows_http=not settings.is_production)


async def resolve_name(host: str, port: int) -> list[str]:
    """The addresses of a name, as the system resolves it. Raises OSError."""
    loop = asyncio.get_running_loop()
    found = await loop.run_in_executor(_DNS_THREADS, lambda: socket.getaddrinfo(host, port, type=socket.SOCK_STREAM))
    return list(dict.fromkeys(str(address[4][0]) for address in found))


def parse_url(text: str, *, policy: OutboundPolicy) -> httpx2.URL:
    """The URL in its normal form, if it is one that names a receiver and nothing else. Raises UnsafeUrlError.

    The request is later built from this very object, so no second parser can read another host out of the same text.
    """
    if len(text) > MAX_URL_LENGTH or any(character <= " " or character in "\\\x7f" for character in text):
        raise UnsafeUrlError("it is too long or holds spaces, control characters or backslashes")
    try:
        url = httpx2.URL(text)
        host = url.raw_host.decode("ascii")
    except (httpx2.InvalidURL, UnicodeError, ValueError) as error:
        raise UnsafeUrlError("it is not a URL") from error
    if url.scheme not in ({"https", "http"} if policy.allows_http else {"https"}):
        raise UnsafeUrlError("only https is used" if not policy.allows_http else "only https and http are used")
    if url.userinfo or "@" in url.netloc.decode("ascii", "replace"):
        raise UnsafeUrlError("it holds credentials")
    if url.fragment:
        raise UnsafeUrlError("it holds a fragment")
    if _literal(host) is None and (not _HOST.match(host) or _NUMERIC.match(host.rpartition(".")[2])):
        raise UnsafeUrlError("its host is not a plain name or address")
    return url


async def checked_addresses(url: httpx2.URL, *, policy: OutboundPolicy, resolver: Resolver = resolve_name) -> list[str]:
    """The addresses behind the URL, if every one of them may be connected to. Raises UnsafeUrlError."""
    host = url.raw_host.decode("ascii")
    port = url.port or (443 if url.scheme == "https" else 80)
    literal = _literal(host)
    try:
        async with asyncio.timeout(_DNS_SECONDS):
            found = [host] if literal is not None else await resolver(host, port)
        addresses = [ip_address(address) for address in found]
    except (OSError, UnicodeError, ValueError) as error:  # a timeout is an OSError, too
        raise UnsafeUrlError("its host has no address") from error
    if not addresses:
        raise UnsafeUrlError("its host has no address")
    is_own = all(_is_in(address, policy.networks) for address in addresses)
    if not all(_is_in(address, policy.networks) or _is_public(address) for address in addresses):
        raise UnsafeUrlError("its host is neither on the public internet nor in AGORA_WEBHOOK_NETWORKS")
    if not is_own and port not in _PORTS[url.scheme]:
        raise UnsafeUrlError(f"port {port} is not one of those for webhooks")
    return [str(address) for address in addresses]


class GuardedTransport(httpx2.AsyncBaseTransport):
    """Sends each request to a checked address of its host, under the host's own name for TLS and the Host header."""

    def __init__(self, inner: httpx2.AsyncBaseTransport, *, policy: OutboundPolicy, resolver: Resolver = resolve_name) -> None:
        self._inner = inner
        self._policy = policy
        self._resolver = resolver

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        """Raises UnsafeUrlError before anything is connected, and the transport's own errors."""
        named = parse_url(str(request.url), policy=self._policy)
        addresses = await checked_addresses(named, policy=self._policy, resolver=self._resolver)
        request.extensions = {**request.extensions, "sni_hostname": named.raw_host.decode("ascii")}
        for remaining in range(min(3, len(addresses)) - 1, -1, -1):
            request.url = named.copy_with(host=addresses.pop(0))
            try:
                return await self._inner.handle_async_request(request)
            except (httpx2.ConnectError, httpx2.ConnectTimeout):
                if not remaining:
                    raise
        raise AssertionError("there is one address at least")

    async def aclose(self) -> None:
        await self._inner.aclose()


def _literal(host: str) -> Address | None:
    try:
        return ip_address(host)
    except ValueError:
        return None


def _is_in(address: Address, networks: tuple[Network, ...]) -> bool:
    return any(address.version == network.version and address in network for network in networks)


def _is_public(address: Address) -> bool:
    if isinstance(address, IPv4Address):
        return address.is_global and not address.is_multicast and not any(address in refused for refused in _REFUSED_V4)
    return address in _PUBLIC_V6 and address.is_global and not any(address in refused for refused in _REFUSED_V6)
