import asyncio
from typing import Any

import pytest
from beanie import PydanticObjectId
from pydantic import ValidationError

from models.blog.posts import PostStatus
from models.blog.taxonomy import Category, CategoryRead
from models.events import Event, EventType
from models.users import Role
from services.blog.categories import (
    CategoryChanges,
    CategoryDraft,
    CategoryNotFoundError,
    CategoryService,
    CategoryTakenError,
    InvalidCategoryNameError,
)
from services.blog.lifecycle import PublishingService
from services.blog.posts import PostService
from services.errors import PermissionDeniedError, PreconditionError
from services.pagination import PageRequest
from services.users.permissions import Viewer
from tests.commands import CommandLog
from tests.factories.blog import create_category, create_post
from tests.factories.users import create_user, viewer_of

pytestmark = pytest.mark.usefixtures("database")


async def editor() -> Viewer:
    return viewer_of(await create_user(role=Role.EDITOR))


class TestCreateCategory:
    async def test_slug_comes_from_the_name(self) -> None:
        viewer = await editor()
        created = await CategoryService.create_category(CategoryDraft(name=" Web & Mobile ", color="#3498DB"), viewer=viewer)
        row = await Category.find_row({"_id": created.id})
        assert row is not None
        assert (row["name"], row["slug"], row["description"], row["color"], row["is_active"], row["posts_count"]) == (
            "Web & Mobile",
            "web-mobile",
            "",
            "#3498DB",
            True,
            0,
        )
        events = await Event.find_rows({})
        assert [(event["type"], event["subject"], event["actor_id"]) for event in events] == [
            (EventType.CATEGORY_CHANGED, f"category:{created.id}", viewer.user_id)
        ]

    async def test_blg_s16_slug_is_won_by_one_of_fifty(self) -> None:
        viewer = await editor()
        for round_number in range(3):
            draft = CategoryDraft(name=f"Design {round_number}")
            results = await asyncio.gather(
                *(CategoryService.create_category(draft, viewer=viewer) for _ in range(50)), return_exceptions=True
            )
            assert sum(isinstance(result, CategoryRead) for result in results) == 1
            assert sum(isinstance(result, CategoryTakenError) for result in results) == 49
        assert (await Category.count_rows({}), await Event.count_rows({})) == (3, 3)

    async def test_name_without_a_letter_needs_a_slug(self) -> None:
        with pytest.raises(InvalidCategoryNameError):
            await CategoryService.create_category(CategoryDraft(name="!!!"), viewer=await editor())
        assert (await CategoryService.create_category(CategoryDraft(name="!!!", slug="wow"), viewer=await editor())).slug == "wow"

    async def test_author_may_not(self) -> None:
        with pytest.raises(PermissionDeniedError):
            await CategoryService.create_category(CategoryDraft(name="X"), viewer=viewer_of(await create_user(role=Role.AUTHOR)))
        assert await Category.count_rows({}) == 0

    def test_blg_m1_limits(self) -> None:
        limits: list[dict[str, Any]] = [
            {"name": " "},
            {"name": "x" * 51},
            {"slug": "Upper"},
            {"slug": "x" * 51},
            {"description": "x" * 501},
            {"color": "red"},
            {"color": "#12345"},
            {"color": "#12345g"},
        ]
        for over in limits:
            with pytest.raises(ValidationError):
                CategoryDraft(**{"name": "Fine", **over})


class TestGetCategoriesWithPostCounts:
    async def test_active_ones_fullest_first_then_oldest(self) -> None:
        found = [await create_category(posts_count=count) for count in (1, 3, 1)]
        await create_category(posts_count=9, is_active=False)
        categories = await CategoryService.get_categories_with_post_counts()
        assert [(one.id, one.posts_count) for one in categories] == [(found[1].id, 3), (found[0].id, 1), (found[2].id, 1)]

    async def test_none_is_empty(self) -> None:
        assert await CategoryService.get_categories_with_post_counts() == []

    async def test_blg_s16_only_published_posts_count_and_a_publication_shows_at_once(self) -> None:
        """BLG-S16: the source counted drafts and archived ones too."""
        owner = await create_user(role=Role.AUTHOR)
        category = await create_category()
        posts = [await create_post(author=owner, category=category, status=status) for status in PostStatus]
        assert [one.posts_count for one in await CategoryService.get_categories_with_post_counts()] == [1]
        await PublishingService.publish(posts[0].id, viewer=viewer_of(owner))
        assert [one.posts_count for one in await CategoryService.get_categories_with_post_counts()] == [2]

    async def test_one_command_and_none_when_read_again(self, commands: CommandLog) -> None:
        await create_category()
        with commands.counting() as cold:
            await CategoryService.get_categories_with_post_counts()
        with commands.counting() as warm:
            await CategoryService.get_categories_with_post_counts()
        assert (len(cold), len(warm)) == (1, 0)


class TestGetCategory:
    async def test_by_slug_while_active(self) -> None:
        category = await create_category(slug="design")
        assert (await CategoryService.get_category("design")).id == category.id
        await create_category(slug="closed", is_active=False)
        for slug in ("closed", "unknown"):
            with pytest.raises(CategoryNotFoundError):
                await CategoryService.get_category(slug)


class TestUpdateCategory:
    async def test_only_what_is_given_changes_and_posts_show_it_at_once(self) -> None:
        category = await create_category(name="Old", description="Kept")
        post = await create_post(category=category, status=PostStatus.PUBLISHED)
        await PostService.list_published(PageRequest())
        changed = await CategoryService.update_category(
            category.id, CategoryChanges(name="New"), viewer=await editor(), revision=1
        )
        assert (changed.name, changed.description, changed.slug, changed.revision) == ("New", "Kept", category.slug, 2)
        shown = (await PostService.list_published(PageRequest())).items[0]
        assert shown.id == post.id
        assert shown.category is not None
        assert shown.category.name == "New"

    async def test_stale_revision_unknown_id_and_taken_slug_change_nothing(self) -> None:
        viewer = await editor()
        category, other = await create_category(name="Kept"), await create_category()
        with pytest.raises(PreconditionError):
            await CategoryService.update_category(category.id, CategoryChanges(name="Lost"), viewer=viewer, revision=2)
        with pytest.raises(CategoryNotFoundError):
            await CategoryService.update_category(PydanticObjectId(), CategoryChanges(name="X"), viewer=viewer, revision=None)
        with pytest.raises(CategoryTakenError):
            await CategoryService.update_category(category.id, CategoryChanges(slug=other.slug), viewer=viewer, revision=1)
        author = viewer_of(await create_user(role=Role.AUTHOR))
        with pytest.raises(PermissionDeniedError):
            await CategoryService.update_category(category.id, CategoryChanges(name="Lost"), viewer=author, revision=1)
        row = await Category.find_row({"_id": category.id})
        assert row is not None
        assert (row["name"], row["slug"], row["revision"]) == ("Kept", category.slug, 1)
        assert await Event.count_rows({}) == 0


class TestDeactivateCategory:
    async def test_it_leaves_the_list_and_keeps_its_posts(self) -> None:
        viewer = await editor()
        category = await create_category()
        await create_post(category=category, status=PostStatus.PUBLISHED)
        for _ in range(2):
            await CategoryService.deactivate_category(category.id, viewer=viewer)
        assert await CategoryService.get_categories_with_post_counts() == []
        row = await Category.find_row({"_id": category.id})
        assert row is not None
        assert (row["is_active"], row["posts_count"]) == (False, 1)

    async def test_unknown_one_is_not_found(self) -> None:
        with pytest.raises(CategoryNotFoundError):
            await CategoryService.deactivate_category(PydanticObjectId(), viewer=await editor())
