"""`make demo`: a walk through the publication, on the sample data and through the services the API uses."""

from collections.abc import Sequence

import typer
from rich.console import Console
from rich.table import Table

from models.blog.posts import PostSummary
from models.blog.taxonomy import CategoryRead
from models.users import User
from scripts.database.connection import run_connected
from scripts.seed import ensure_seeded
from services.blog.categories import CategoryService
from services.blog.feed import FeedService, FeedSource
from services.blog.popular import PopularityService
from services.blog.search import PostSearchService
from services.blog.statistics import BlogStats, StatisticsService
from services.indexes import IndexService
from services.pagination import CursorCodec, PageRequest
from services.settings import Settings
from services.social import FollowService
from services.users.permissions import Viewer

READER, FOLLOWED = "johndoe", "janedoe"
QUERY = "MongoDB"


def main() -> None:
    """Exits 0 when every part was shown, 1 when the database holds no sample data."""

    async def work(settings: Settings) -> int:
        await IndexService.create_missing()
        await ensure_seeded(settings=settings)
        return await show(Console(), settings=settings)

    run_connected(work)


async def show(console: Console, *, settings: Settings) -> int:
    """Print statistics, popular posts, categories, a search, a follow and a feed; returns the exit code. Bears repetition."""
    row = await User.find_row({"username": READER}, {"username": 1, "role": 1})
    if row is None:
        console.print("There is no sample data here: run make seed first.")
        return 1
    viewer = Viewer(row["_id"], row["username"], row["role"])

    console.print(stats_table(await StatisticsService.get_blog_stats()))
    console.print(posts_table("Popular this week", await PopularityService.get_popular_posts(days=7, limit=5)))
    console.print(categories_table(await CategoryService.get_categories_with_post_counts()))

    found = await PostSearchService.search_posts(QUERY, page=PageRequest(page=1, limit=5))
    console.print(posts_table(f'Search for "{QUERY}": {found.total_count} posts', found.items))

    state = await FollowService.follow(FOLLOWED, viewer=viewer)
    console.print(f"{READER} follows {FOLLOWED}, who has {state.followers_count} followers.\n")

    feed = await FeedService.get_user_feed(viewer, cursors=CursorCodec(settings.secret_bytes), limit=5)
    what = "the people they follow" if feed.source is FeedSource.FOLLOWING else "everyone, as they follow nobody"
    console.print(posts_table(f"{READER}'s feed: the latest of {what}", feed.items))
    return 0


def stats_table(stats: BlogStats) -> Table:
    table = Table("figure", "value", title="The publication")
    table.columns[1].justify = "right"
    for name, value in stats:
        table.add_row(name.replace("_", " "), f"{value:,}")
    return table


def categories_table(categories: Sequence[CategoryRead]) -> Table:
    table = Table("category", "posts", title="Categories")
    table.columns[1].justify = "right"
    for category in categories:
        table.add_row(f"[{category.color}]{category.name}[/]", f"{category.posts_count:,}")
    return table


def posts_table(title: str, posts: Sequence[PostSummary]) -> Table:
    table = Table("published", "title", "author", "views", "likes", "comments", title=title)
    for column in table.columns[3:]:
        column.justify = "right"
    for post in posts:
        table.add_row(
            f"{post.published_at:%Y-%m-%d}",
            post.title,
            post.author.username if post.author else "-",
            f"{post.views_count:,}",
            f"{post.likes_count:,}",
            f"{post.comments_count:,}",
        )
    return table


if __name__ == "__main__":
    typer.run(main)
