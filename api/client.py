"""Who is at the other end of the connection, as far as the network tells."""

from ipaddress import IPv4Network, IPv6Address, IPv6Network, ip_address
from typing import Any

from services.users.sessions import ClientInfo

Network = IPv4Network | IPv6Network


def client_info(scope: Any, trusted: list[Network]) -> ClientInfo:
    """The peer; behind trusted proxies, the nearest address of X-Forwarded-For that is none of them.

    The address is the one limits go by: IPv4 whole, IPv6 by its /64, since one subscriber holds all of that.
    """
    peer = scope["client"][0] if scope.get("client") else "127.0.0.1"
    forwarded: list[str] = []
    user_agent = ""
    for name, value in scope["headers"]:
        if name == b"user-agent":
            user_agent = value.decode("latin-1")[:300]
        elif name == b"x-forwarded-for":
            forwarded += value.decode("latin-1").split(",")
    while forwarded and _is_trusted(peer, trusted):
        peer = forwarded.pop().strip()
    return ClientInfo(_limit_subject(peer), user_agent)


def _is_trusted(peer: str, trusted: list[Network]) -> bool:
    if not trusted:
        return False
    try:
        address = ip_address(peer)
    except ValueError:
        return False
    return any(address in network for network in trusted)


def _limit_subject(peer: str) -> str:
    try:
        address = ip_address(peer)
    except ValueError:
        return "unknown"
    if isinstance(address, IPv6Address):
        if address.ipv4_mapped is not None:
            return str(address.ipv4_mapped)
        return str(IPv6Network((address, 64), strict=False))
    return str(address)
