"""`make` and `scripts/install.sh`: what they say when something is missing, with stand-ins for Python and pip."""

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

# Answers the installer's questions as told, makes a "virtual environment" whose pip writes down what it is asked for.
PYTHON = """#!/bin/sh
case "$*" in
*version_info*) exit {too_old} ;;
*ensurepip*) exit {no_venv} ;;
"-m venv "*) mkdir -p "$3/bin" && cp "$0" "$3/bin/python" ;;
"-m pip "*show*) echo "Version: 9.9" ;;
"-m pip "*) echo "$*" >> "{log}"
    case "$*" in
    *embedded*) exit {no_pinned} ;;
    *SecantusDB*) exit {no_newest} ;;
    esac ;;
esac
"""


class Machine:
    """A machine with one Python of a kind."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.python = folder / "python3"
        self.log = folder / "pip.log"

    def install(self, lane: str = "pymongo", *, mongodb_uri: str = "", **traits: int) -> subprocess.CompletedProcess[str]:
        defaults = {"too_old": 0, "no_venv": 0, "no_pinned": 0, "no_newest": 0}
        self.python.write_text(PYTHON.format(log=self.log, **(defaults | traits)))
        self.python.chmod(0o755)
        return subprocess.run(
            ["sh", "scripts/install.sh", lane, str(self.folder / "venv")],
            cwd=ROOT,
            env={**os.environ, "PYTHON": str(self.python), "MONGODB_URI": mongodb_uri},
            capture_output=True,
            text=True,
            check=False,
        )

    @property
    def installed(self) -> str:
        return self.log.read_text() if self.log.exists() else ""


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


class TestInstall:
    def test_python_that_is_too_old_is_one_sentence(self, machine: Machine) -> None:
        ended = machine.install(too_old=1)
        assert ended.returncode == 1
        assert ended.stderr == (
            "Agora needs Python 3.11 or newer; install it (Debian: apt install python3 python3-venv) "
            "or name it with PYTHON=/path/to/python3.\n"
        )
        assert not (machine.folder / "venv").exists()

    def test_missing_venv_module_is_one_sentence(self, machine: Machine) -> None:
        ended = machine.install(no_venv=1)
        assert ended.returncode == 1
        assert ended.stderr == (
            f"{machine.python} has no venv module; install it (Debian: apt install python3-venv) and run make again.\n"
        )
        assert not (machine.folder / "venv").exists()

    def test_unknown_lane_is_one_sentence(self, machine: Machine) -> None:
        ended = machine.install("mongoengine")
        assert ended.returncode == 1
        assert ended.stderr == "LANE is pymongo or motor, not 'mongoengine'.\n"

    @pytest.mark.parametrize("lane", ["pymongo", "motor"])
    def test_installs_the_lane_and_the_pinned_server_from_the_constraints(self, machine: Machine, lane: str) -> None:
        ended = machine.install(lane)
        assert (ended.returncode, ended.stderr) == (0, "")
        packages, server = machine.installed.splitlines()
        assert packages.endswith(f"install -c constraints/{lane}.txt -e .[{lane}]")
        assert server.endswith(f"install -c constraints/{lane}.txt -e .[embedded]")

    def test_newest_server_takes_the_place_of_the_pinned_one_and_is_named(self, machine: Machine) -> None:
        ended = machine.install(no_pinned=1)
        assert ended.returncode == 0
        assert "The pinned embedded server could not be installed; using SecantusDB 9.9." in ended.stdout

    def test_platform_without_a_server_is_pointed_to_mongodb_uri_and_compose(self, machine: Machine) -> None:
        ended = machine.install(no_pinned=1, no_newest=1)
        assert ended.returncode == 0
        assert ended.stderr == (
            "There is no embedded server for this platform: set MONGODB_URI to a MongoDB replica set, or run docker compose up.\n"
        )

    def test_mongodb_uri_needs_no_server(self, machine: Machine) -> None:
        assert machine.install(mongodb_uri="mongodb://db").returncode == 0
        assert "embedded" not in machine.installed


@pytest.mark.skipif(shutil.which("make") is None, reason="there is no make")
class TestMakefile:
    def test_help_lists_every_command(self) -> None:
        text = (ROOT / "Makefile").read_text()
        phony = re.search(r"^\.PHONY: (.+)$", text, re.MULTILINE)
        assert phony is not None
        listed = subprocess.run(["make", "help"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
        assert set(re.findall(r"^  ([a-z-]+) ", listed, re.MULTILINE)) == set(phony.group(1).split())
        promised = "run test check format lint typecheck cov seed worker bench reconcile openapi clean"
        assert set(promised.split()) <= set(phony.group(1).split())

    def test_every_script_that_it_runs_exists(self) -> None:
        named = set(re.findall(r"-m scripts\.(\w+)", (ROOT / "Makefile").read_text()))
        assert {name for name in named if not (ROOT / "scripts" / f"{name}.py").exists()} == set()

    @pytest.mark.parametrize("lane", ["pymongo", "motor"])
    def test_port_data_and_lane_reach_the_command(self, lane: str, tmp_path: Path) -> None:
        planned = subprocess.run(
            [
                "make",
                "--no-print-directory",
                "-n",
                "-o",
                f".venv/{lane}/.installed",
                "run",
                f"LANE={lane}",
                "PORT=8123",
                f"DATA={tmp_path}",
            ],
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        assert planned.splitlines()[-1] == f"exec .venv/{lane}/bin/python -m scripts.serve --port 8123"

    def test_ci_runs_check_both_lanes_and_the_pages(self) -> None:
        steps = re.findall(r"^within (\d+)m (make .+)$", (ROOT / ".ci" / "run").read_text(), re.MULTILINE)
        assert [step for _, step in steps] == ["make check test", "make test LANE=motor", "make test-pages"]
        assert sum(int(minutes) for minutes, _ in steps) < 90
        assert os.access(ROOT / ".ci" / "run", os.X_OK)
