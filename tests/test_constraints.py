"""The pinned versions of both lanes: above the known holes, alike where the lanes are alike, and complete (RELIABILITY S20)."""

import re
import tomllib
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import pytest
from packaging.markers import Marker
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

ROOT = Path(__file__).parents[1]
LANES = ["pymongo", "motor"]

# The first releases without the hole; a package that is not pinned at all is not there to be exploited.
FLOORS = {
    "starlette": "1.0.1",  # CVE-2026-48710: the Host header decides request.url.path
    "python-multipart": "0.0.31",  # five denials of service, the last CVE-2026-40347
    "pyjwt": "2.13",  # CVE-2026-48526
    "jinja2": "3.1.6",  # CVE-2025-27516: the sandbox can be left
    "h11": "0.16.0",  # CVE-2025-43859: requests smuggled in chunked bodies
}
FORBIDDEN = {"python-jose"}  # CVE-2024-33663 is open for DER keys
LANE_OWN = {"beanie", "motor", "lazy-model"}

PIN = re.compile(r"(?P<name>[a-z0-9][a-z0-9-]*)==(?P<version>[0-9][0-9a-z.]*)(?: ; (?P<marker>.+))?")

PROJECT: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


def lines(lane: str) -> list[str]:
    return (ROOT / "constraints" / f"{lane}.txt").read_text().splitlines()


def pins(lane: str) -> dict[str, set[Version]]:
    found: dict[str, set[Version]] = {}
    for line in lines(lane):
        match = PIN.fullmatch(line)
        assert match is not None, line
        found.setdefault(match["name"], set()).add(Version(match["version"]))
    return found


def direct_requirements(lane: str) -> list[Requirement]:
    """What pyproject names for a lane, its own extras resolved."""
    extras = PROJECT["optional-dependencies"]
    named = [*PROJECT["dependencies"], *extras[lane]]
    named += [line for extra in ("embedded", "test", "lint") for line in extras[extra]]
    parsed = [Requirement(line) for line in named]
    return [requirement for requirement in parsed if requirement.name != PROJECT["name"]]


@pytest.mark.parametrize("lane", LANES)
class TestLane:
    def test_holds_names_and_versions_alone(self, lane: str) -> None:
        for line in lines(lane):
            match = PIN.fullmatch(line)
            assert match is not None, f"no plain pin: {line}"
            if match["marker"]:
                Marker(match["marker"])

    def test_names_are_canonical_and_sorted(self, lane: str) -> None:
        names = [line.partition("==")[0] for line in lines(lane)]

        assert names == sorted(names)
        assert names == [canonicalize_name(name) for name in names]

    def test_s20_known_holes_are_above_their_floor(self, lane: str) -> None:
        pinned = pins(lane)

        below = {name: found for name, floor in FLOORS.items() for found in pinned.get(name, ()) if found < Version(floor)}
        assert below == {}
        assert not FORBIDDEN & pinned.keys()

    def test_s20_starlette_is_pinned(self, lane: str) -> None:
        """It is under everything, so its floor must be a floor of something."""
        assert "starlette" in pins(lane)

    def test_every_direct_dependency_is_pinned_within_its_bounds(self, lane: str) -> None:
        pinned = pins(lane)

        for requirement in direct_requirements(lane):
            versions = pinned.get(canonicalize_name(requirement.name), set())
            assert versions, f"{requirement.name} has no pin"
            assert all(requirement.specifier.contains(version, prereleases=True) for version in versions), str(requirement)


def test_lanes_differ_in_beanie_and_what_comes_with_it_alone() -> None:
    rows = {lane: {line for line in lines(lane) if line.partition("==")[0] not in LANE_OWN} for lane in LANES}

    assert rows["pymongo"] == rows["motor"]


def test_lanes_have_their_own_beanie() -> None:
    assert {lane: {version.major for version in pins(lane)["beanie"]} for lane in LANES} == {"pymongo": {2}, "motor": {1}}


def test_s20_installed_packages_are_above_their_floor() -> None:
    """The floor holds for the environment that runs, not only for the file."""
    for name, floor in FLOORS.items():
        try:
            assert Version(version(name)) >= Version(floor)
        except PackageNotFoundError:
            continue
