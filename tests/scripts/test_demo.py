"""The walk through the publication."""

import io

import pytest
from rich.console import Console

from models.blog.posts import Post, PostStatus
from models.blog.taxonomy import Category
from models.database import Database
from models.social import Follow
from models.users import User
from scripts.demo import show
from scripts.seed import seed
from services.cache import clear_all_caches
from services.reconcile import ReconcileService
from services.settings import Settings


@pytest.fixture
def console() -> Console:
    return Console(file=io.StringIO(), width=160)


def printed(console: Console) -> str:
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


class TestShow:
    async def test_shows_the_figures_of_the_data(
        self, database: Database, settings: Settings, small_shop: None, console: Console
    ) -> None:
        await seed(settings=settings, progress=False)

        code = await show(console, settings=settings)

        lines = [line.replace("┃", "│") for line in printed(console).splitlines()]
        cells = [[cell.strip() for cell in line.strip("│").split("│")] for line in lines]
        posts = await Post.find_rows({})
        published = [row for row in posts if row["status"] == PostStatus.PUBLISHED]
        kept = [row for row in posts if row["status"] != PostStatus.TRASHED]
        assert code == 0
        assert ["total users", "66"] in cells
        assert ["published posts", str(len(published))] in cells
        assert ["total views", f"{sum(row['views_count'] for row in kept):,}"] in cells
        for category in await Category.find_rows({}):
            count = len([row for row in published if row["category_id"] == category["_id"]])
            assert [category["name"], str(count)] in cells
        matching = [row for row in published if any(term["term"] == "mongodb" for term in row["terms"])]
        assert any(f'Search for "MongoDB": {len(matching)} posts' in line for line in lines)
        jane = await User.find_row({"username": "janedoe"})
        assert jane is not None
        followers = await Follow.find_rows({"following_id": jane["_id"]})
        assert f"johndoe follows janedoe, who has {len(followers)} followers." in lines
        feed = lines[next(number for number, line in enumerate(lines) if "johndoe's feed" in line) :]
        assert any("Principles of Good Design" in line and "janedoe" in line for line in feed)

    async def test_can_be_repeated(self, database: Database, settings: Settings, small_shop: None, console: Console) -> None:
        await seed(settings=settings, progress=False)
        await show(console, settings=settings)
        first = printed(console)
        clear_all_caches()

        again = Console(file=io.StringIO(), width=160)
        await show(again, settings=settings)

        assert printed(again) == first
        assert [row async for row in ReconcileService.drift()] == []

    async def test_without_sample_data_it_says_so(self, database: Database, settings: Settings, console: Console) -> None:
        assert await show(console, settings=settings) == 1
        assert printed(console) == "There is no sample data here: run make seed first.\n"
