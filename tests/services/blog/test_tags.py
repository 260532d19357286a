import asyncio

import pytest
from beanie import PydanticObjectId

from models.base import now
from models.blog.taxonomy import Tag
from models.database import Session, run_transaction
from models.events import Event, EventType
from models.users import Role
from services.blog.lifecycle import PublishingService
from services.blog.reading import REFERENCE_CONSUMER
from services.blog.tags import InvalidTagNameError, TagNotFoundError, TagService, TagTakenError
from services.errors import PermissionDeniedError
from tests.commands import CommandLog
from tests.factories.blog import create_post, create_tag
from tests.factories.users import create_user, viewer_of

pytestmark = pytest.mark.usefixtures("database")


class TestGetOrCreateTags:
    async def test_ids_come_in_the_order_of_the_names_each_once(self) -> None:
        known = await create_tag(name="MongoDB", slug="mongodb")
        ids = await TagService.get_or_create_tags(["Python", "mongodb", "Go", "python", " MONGODB "])
        rows = {row["_id"]: row for row in await Tag.find_rows({})}
        assert [rows[tag_id]["name"] for tag_id in ids] == ["Python", "MongoDB", "Go"]
        assert ids[1] == known.id
        assert Tag.from_row(rows[ids[0]]).usage_count == 0

    async def test_blg_m2_names_that_differ_in_signs_are_different_tags(self) -> None:
        """BLG-M2: in the source `C++` had the slug `c++`."""
        await TagService.get_or_create_tags(["C", "C++", "C#", "F#", ".NET", "Node.js", "R&D", "日本語", "Ünïcode"])
        slugs = {row["name"]: row["slug"] for row in await Tag.find_rows({})}
        assert slugs == {
            "C": "c",
            "C++": "c-plus-plus",
            "C#": "c-sharp",
            "F#": "f-sharp",
            ".NET": "net",
            "Node.js": "node-js",
            "R&D": "r-d",
            "日本語": "ri-ben-yu",
            "Ünïcode": "unicode",
        }

    async def test_blg_m2_empty_or_over_long_name_is_refused_and_nothing_made(self) -> None:
        for name in ("", "   ", "!!!", "x" * 31):
            with pytest.raises(InvalidTagNameError):
                await TagService.get_or_create_tags(["Fine", name])
        assert await Tag.count_rows({}) == 0

    async def test_blg_s17_fifty_callers_make_each_tag_once(self) -> None:
        for round_number in range(5):
            names = [f"Tag {round_number} {n}" for n in range(10)]
            orders = [names[n % 10 :] + names[: n % 10] for n in range(50)]
            results = await asyncio.gather(*(TagService.get_or_create_tags(order) for order in orders))
            assert await Tag.count_rows({}) == 10 * (round_number + 1)
            ids = dict(zip(orders[0], results[0], strict=True))
            assert all(result == [ids[name] for name in order] for order, result in zip(orders, results, strict=True))

    async def test_blg_s17_fifty_transactions_make_each_tag_once(self) -> None:
        for round_number in range(3):
            names = [f"Tag {round_number} {n}" for n in range(3)]

            async def work(session: Session, names: list[str] = names) -> list[PydanticObjectId]:
                return await TagService.get_or_create_tags(names, session=session)

            results = await asyncio.gather(*(run_transaction(work) for _ in range(50)))
            assert len({tuple(result) for result in results}) == 1
            assert await Tag.count_rows({}) == 3 * (round_number + 1)

    async def test_blg_s17_batched_one_command_when_known_three_when_new(self, commands: CommandLog) -> None:
        names = [f"Tag {n}" for n in range(20)]
        with commands.counting() as new:
            await TagService.get_or_create_tags(names)
        with commands.counting() as known:
            await TagService.get_or_create_tags(names)
        with commands.counting() as nothing:
            assert await TagService.get_or_create_tags([]) == []
        assert (len(new), len(known), len(nothing)) == (3, 1, 0)


class TestGetPopularTags:
    async def test_most_used_first_then_oldest_and_unused_left_out(self) -> None:
        used = [await create_tag(name=f"T{n}", usage_count=count) for n, count in enumerate((2, 5, 2))]
        await create_tag(usage_count=0)
        tags = await TagService.get_popular_tags()
        assert [(tag.id, tag.usage_count) for tag in tags] == [(used[1].id, 5), (used[0].id, 2), (used[2].id, 2)]

    async def test_at_most_the_limit_and_twenty_by_default(self) -> None:
        for _ in range(21):
            await create_tag(usage_count=1)
        assert (len(await TagService.get_popular_tags()), len(await TagService.get_popular_tags(limit=3))) == (20, 3)

    async def test_nothing_used_is_empty(self) -> None:
        assert await TagService.get_popular_tags() == []

    async def test_publication_shows_at_once_and_reading_again_costs_nothing(self, commands: CommandLog) -> None:
        owner = await create_user(role=Role.AUTHOR)
        tag = await create_tag()
        post = await create_post(author=owner, tags=[tag])
        assert await TagService.get_popular_tags() == []
        await PublishingService.publish(post.id, viewer=viewer_of(owner))
        assert [found.usage_count for found in await TagService.get_popular_tags()] == [1]
        with commands.counting() as sent:
            await TagService.get_popular_tags()
        assert len(sent) == 0


class TestRenameTag:
    async def test_name_and_slug_change_with_an_event(self) -> None:
        editor = viewer_of(await create_user(role=Role.EDITOR))
        tag = await create_tag(usage_count=3)
        renamed = await TagService.rename_tag(tag.id, name="  Full   Text ", viewer=editor)
        assert (renamed.name, renamed.slug, renamed.usage_count) == ("Full Text", "full-text", 3)
        row = await Tag.find_row({"_id": tag.id})
        assert row is not None
        assert (row["name"], row["slug"]) == ("Full Text", "full-text")
        events = await Event.find_rows({})
        assert [(event["type"], event["subject"]) for event in events] == [(EventType.TAG_CHANGED, f"tag:{tag.id}")]

    async def test_name_of_another_tag_is_taken(self) -> None:
        editor = viewer_of(await create_user(role=Role.EDITOR))
        await create_tag(name="Go", slug="go")
        tag = await create_tag(name="Golang", slug="golang")
        with pytest.raises(TagTakenError):
            await TagService.rename_tag(tag.id, name="GO", viewer=editor)
        row = await Tag.find_row({"_id": tag.id})
        assert row is not None
        assert row["name"] == "Golang"
        assert await Event.count_rows({}) == 0

    async def test_unknown_tag_and_author_are_refused(self) -> None:
        tag = await create_tag()
        with pytest.raises(TagNotFoundError):
            await TagService.rename_tag(PydanticObjectId(), name="X", viewer=viewer_of(await create_user(role=Role.EDITOR)))
        with pytest.raises(PermissionDeniedError):
            await TagService.rename_tag(tag.id, name="X", viewer=viewer_of(await create_user(role=Role.AUTHOR)))


class TestReferenceConsumer:
    async def test_each_kind_of_change_is_forgotten_and_repeating_it_is_harmless(self) -> None:
        for type, kind in (
            (EventType.USER_UPDATED, "user"),
            (EventType.CATEGORY_CHANGED, "category"),
            (EventType.TAG_CHANGED, "tag"),
        ):
            event = Event(type=type, subject=f"{kind}:{PydanticObjectId()}", created_at=now())
            for _ in range(2):
                await REFERENCE_CONSUMER.handle(event)
