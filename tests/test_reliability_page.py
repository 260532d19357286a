"""Every goal of reliability leads to a test, and where chance has a part, to a command: `docs/reliability.md` lists them."""

import ast
from pathlib import Path

ROOT = Path(__file__).parent.parent
GOALS = {*(f"R{number}" for number in range(1, 18)), "S3", "S4", "S10", "S19"}


def rows() -> list[tuple[str, str, str]]:
    """Goal, test, and command of each row of the first table."""
    lines = [
        line for line in (ROOT / "docs" / "reliability.md").read_text("utf-8").split("## ")[0].splitlines() if line[:1] == "|"
    ]
    cells = [[cell.strip().strip("`") for cell in line.strip("|").split("|")] for line in lines[2:]]
    return [(goal, test, command) for goal, _, test, command in cells]


def names_in(path: str) -> set[str]:
    found = set()
    for node in ast.parse((ROOT / path).read_text("utf-8")).body:
        if isinstance(node, ast.ClassDef):
            found |= {
                f"{node.name}::{item.name}" for item in node.body if isinstance(item, ast.FunctionDef | ast.AsyncFunctionDef)
            }
        elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            found.add(node.name)
    return found


def test_every_goal_of_the_shop_has_its_row() -> None:
    assert {goal for goal, *_ in rows()} - {"race"} == GOALS


def test_each_test_exists() -> None:
    missing = [test for _, test, _ in rows() if test.partition("::")[2] not in names_in(test.partition("::")[0])]
    assert missing == []


def test_each_command_exists() -> None:
    targets = {line.split(":")[0] for line in (ROOT / "Makefile").read_text("utf-8").splitlines() if line[:1].isalpha()}
    words = [command.split() for _, _, command in rows() if command]
    assert [command for command in words if command[0] != "make" or command[1] not in targets] == []
    folders = [word.removeprefix("IN=") for command in words for word in command if word.startswith("IN=")]
    assert [folder for folder in folders if not (ROOT / folder).exists()] == []
