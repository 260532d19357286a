"""What the pages for people say is there: links, commands, decisions, jobs, consumers, live messages."""

import re
from pathlib import Path
from typing import get_args

from pydantic import BaseModel

from api.schemas import live as messages
from models import live
from services.settings import Settings
from services.worker import PUMP, make_consumers, make_jobs

ROOT = Path(__file__).parent.parent
PAGES = [*ROOT.glob("*.md"), *ROOT.glob("docs/*.md"), *ROOT.glob("docs/decisions/*.md")]


def text_of(page: str) -> str:
    return (ROOT / page).read_text("utf-8")


def anchors_of(page: Path) -> set[str]:
    """What a heading is called in an address."""
    headings = re.findall(r"^#+ (.+)$", page.read_text("utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_links_lead_somewhere() -> None:
    broken = []
    for page in PAGES:
        for link in re.findall(r"\]\((?!https?:)([^)\s]+)\)", page.read_text("utf-8")):
            path, _, anchor = link.partition("#")
            target = page.parent / path if path else page
            if not target.exists() or (anchor and anchor not in anchors_of(target)):
                broken.append(f"{page.name}: {link}")
    assert broken == []


def test_commands_exist() -> None:
    targets = set(re.findall(r"^([a-z-]+):", text_of("Makefile"), re.MULTILINE))
    in_code = {name for page in PAGES for name in re.findall(r"`make ([a-z]+(?:-[a-z]+)*)", page.read_text("utf-8"))}
    assert "run" in in_code
    assert in_code - targets == set()


def test_index_of_decisions_is_complete() -> None:
    index = text_of("docs/decisions/README.md")
    for page in sorted((ROOT / "docs" / "decisions").glob("0*.md")):
        number, _, title = page.read_text("utf-8").splitlines()[0].removeprefix("# ").partition(". ")
        assert f"{number}. [{title}]({page.name})" in index


def test_operators_are_told_of_every_job_and_consumer(settings: Settings) -> None:
    page = text_of("docs/operations.md")
    names = [PUMP, *(job.name for job in make_jobs(settings)), *(consumer.name for consumer in make_consumers(settings))]
    assert [name for name in names if f"`{name}`" not in page] == []


def test_callers_are_told_of_every_live_message_and_fact() -> None:
    page = text_of("docs/api.md")
    union = get_args(live.LiveFact)[0]
    facts = {fact.model_fields["type"].default for fact in get_args(union)}
    said = {
        value
        for model in vars(messages).values()
        if isinstance(model, type) and issubclass(model, BaseModel) and "type" in model.model_fields
        for value in get_args(model.model_fields["type"].annotation)
    }
    assert len(facts) == 9
    assert {"authenticate", "subscribed", "error"} < said
    assert [name for name in sorted(facts) if f"`{name}`" not in page] == []
    assert [name for name in sorted(said) if f'"type": "{name}"' not in page] == []
