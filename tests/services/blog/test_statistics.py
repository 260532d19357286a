"""The publication's figures."""

import random

import pytest

from models.blog.comments import Comment, CommentStatus
from models.blog.posts import Post, PostStatus
from models.blog.taxonomy import Category, Tag
from models.database import Database
from models.users import Role, User
from services.blog.statistics import StatisticsService
from tests.commands import CommandLog
from tests.factories.blog import make_category, make_post, make_tag
from tests.factories.users import make_user

ZEROS = {
    "total_users": 0,
    "active_users": 0,
    "authors": 0,
    "total_posts": 0,
    "published_posts": 0,
    "total_views": 0,
    "total_likes": 0,
    "total_categories": 0,
    "total_tags": 0,
    "total_comments": 0,
}


class TestGetBlogStats:
    async def test_blg_s15_empty_house_is_all_zeros_and_nothing_else(self, database: Database) -> None:
        assert (await StatisticsService.get_blog_stats()).model_dump() == ZEROS

    async def test_blg_s15_an_empty_collection_leaves_the_others_figures(self, database: Database) -> None:
        await make_tag().store()

        assert (await StatisticsService.get_blog_stats()).model_dump() == {**ZEROS, "total_tags": 1}

    async def test_each_figure_by_hand(self, database: Database) -> None:
        for role, is_active in (
            (Role.USER, True),
            (Role.VENDOR, False),
            (Role.AUTHOR, True),
            (Role.ADMIN, True),
            (Role.EDITOR, False),
        ):
            await make_user(role=role, is_active=is_active).store()
        for status, views, likes in (
            (PostStatus.PUBLISHED, 10, 3),
            (PostStatus.PUBLISHED, 5, 0),
            (PostStatus.DRAFT, 0, 0),
            (PostStatus.ARCHIVED, 7, 2),
            (PostStatus.TRASHED, 1000, 100),
        ):
            await make_post(status=status, views_count=views, likes_count=likes).store()
        await make_category().store()
        await make_category(is_active=False).store()
        for _ in range(3):
            await make_tag().store()
        for comment_status in CommentStatus:
            await _comment(comment_status).store()
        await _comment(CommentStatus.APPROVED).store()

        assert (await StatisticsService.get_blog_stats()).model_dump() == {
            "total_users": 5,
            "active_users": 3,
            "authors": 3,
            "total_posts": 4,
            "published_posts": 2,
            "total_views": 22,
            "total_likes": 5,
            "total_categories": 1,
            "total_tags": 3,
            "total_comments": 2,
        }

    @pytest.mark.parametrize("seed", range(2))
    async def test_random_data_agrees_with_a_recount(self, database: Database, seed: int) -> None:
        chance = random.Random(seed)
        users = [make_user(role=chance.choice(list(Role)), is_active=chance.random() < 0.8) for _ in range(40)]
        posts = [
            make_post(status=chance.choice(list(PostStatus)), views_count=chance.randint(0, 99), likes_count=chance.randint(0, 9))
            for _ in range(60)
        ]
        categories = [make_category(is_active=chance.random() < 0.5) for _ in range(9)]
        tags = [make_tag() for _ in range(12)]
        comments = [_comment(chance.choice(list(CommentStatus))) for _ in range(80)]
        for kind, rows in ((User, users), (Post, posts), (Category, categories), (Tag, tags), (Comment, comments)):
            await kind.collection().insert_many([row.row() for row in rows])

        stats = await StatisticsService.get_blog_stats()

        kept = [post for post in posts if post.status is not PostStatus.TRASHED]
        writers = {Role.SUPER_ADMIN, Role.ADMIN, Role.MANAGER, Role.EDITOR, Role.AUTHOR}
        assert stats.model_dump() == {
            "total_users": 40,
            "active_users": len([user for user in users if user.is_active]),
            "authors": len([user for user in users if user.role in writers]),
            "total_posts": len(kept),
            "published_posts": len([post for post in posts if post.status is PostStatus.PUBLISHED]),
            "total_views": sum(post.views_count for post in kept),
            "total_likes": sum(post.likes_count for post in kept),
            "total_categories": len([category for category in categories if category.is_active]),
            "total_tags": 12,
            "total_comments": len([comment for comment in comments if comment.status is CommentStatus.APPROVED]),
        }

    async def test_costs_one_command_and_none_when_remembered(self, database: Database, commands: CommandLog) -> None:
        with commands.counting() as sent:
            await StatisticsService.get_blog_stats()
            await StatisticsService.get_blog_stats()

        assert sent.sent == ["aggregate users"]


def _comment(status: CommentStatus) -> Comment:
    return Comment(post_id=make_post().id, content="x", content_html="x", status=status, author_name="Guest")
