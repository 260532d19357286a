"""Ports for programs that are started a moment later, and must find theirs still free."""

import random
import socket
from pathlib import Path

_GIVEN = Path("/proc/sys/net/ipv4/ip_local_port_range")
_FIRST = 10_000
_TRIES = 100


def free_port() -> int:
    """A port of loopback on which nobody listens.

    If there are others, not one of those that the system gives to connections that go out: any client on the machine might get it
    between this call and the start of the program.
    """
    begin = _first_given()
    wanted = random.sample(range(_FIRST, begin), _TRIES) if begin >= _FIRST + _TRIES else []
    for port in [*wanted, 0]:
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            found: int = probe.getsockname()[1]
            return found
    raise OSError("no port of loopback is free")


def _first_given() -> int:
    """The first port that the system gives to connections; 0 where it does not say."""
    try:
        return int(_GIVEN.read_text().split()[0])
    except (OSError, ValueError, IndexError):
        return 0
