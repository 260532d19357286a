import socket
from pathlib import Path

import pytest

from scripts import ports
from scripts.ports import free_port


def is_free(port: int) -> bool:
    with socket.socket() as probe:
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


class TestFreePort:
    def test_it_is_none_that_a_connection_may_be_given(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        given = tmp_path / "range"
        given.write_text("20000\t60999\n")
        monkeypatch.setattr(ports, "_GIVEN", given)
        found = {free_port() for _ in range(20)}

        assert all(10_000 <= port < 20_000 for port in found)
        assert all(is_free(port) for port in found)

    @pytest.mark.parametrize("text", ["1024\t65535\n", "", None], ids=["all are", "nothing is told", "elsewhere"])
    def test_otherwise_any_that_is_free(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str | None) -> None:
        given = tmp_path / "range"
        if text is not None:
            given.write_text(text)
        monkeypatch.setattr(ports, "_GIVEN", given)

        assert is_free(free_port())

    def test_taken_ports_are_passed_over(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        given = tmp_path / "range"
        given.write_text("60000 60999")
        monkeypatch.setattr(ports, "_GIVEN", given)
        with socket.create_server(("127.0.0.1", free_port())) as taken:
            port = taken.getsockname()[1]
            monkeypatch.setattr("random.sample", lambda population, k: [port] * k)

            assert is_free(free_port())
