import pytest
from beanie import PydanticObjectId

from models.blog.posts import Post, PostStatus
from models.blog.taxonomy import Category, CategoryName, Tag, TagName
from models.database import Database
from models.users import AuthorName, User
from services.blog.reading import (
    EDIT_FIELDS,
    READ_FIELDS,
    SUMMARY_FIELDS,
    PostNotFoundError,
    forget_references,
    get_published_post,
    stamp_of,
    to_edit,
    to_read,
    to_summaries,
)
from tests.commands import CommandLog
from tests.factories.blog import create_category, create_post, create_tag
from tests.factories.users import create_user

pytestmark = pytest.mark.usefixtures("database")


class TestToSummaries:
    async def test_names_come_with_every_post_in_order(self) -> None:
        author = await create_user(username="jane")
        category = await create_category(name="Design", slug="design", color="#9b59b6")
        tags = [await create_tag(name="C++", slug="c-plus-plus"), await create_tag(name="Go", slug="go")]
        first = await create_post(author=author, category=category, tags=tags, status=PostStatus.PUBLISHED)
        second = await create_post(author=author)

        rows = [await _row(second, SUMMARY_FIELDS), await _row(first, SUMMARY_FIELDS)]
        bare, full = await to_summaries(rows)

        assert (bare.id, bare.category, bare.tags, bare.status) == (second.id, None, [], PostStatus.DRAFT)
        assert full.author == AuthorName(id=author.id, username="jane", full_name="Jane Doe", avatar_url=None)
        assert full.category == CategoryName(id=category.id, name="Design", slug="design", color="#9b59b6")
        assert full.tags == [TagName(id=tag.id, name=tag.name, slug=tag.slug) for tag in tags]

    async def test_nothing_gives_nothing_and_asks_nothing(self, commands: CommandLog) -> None:
        with commands.counting() as sent:
            assert await to_summaries([]) == []
        assert len(sent) == 0

    async def test_blg_s7_missing_author_category_and_tag_do_not_break(self) -> None:
        """BLG-S7: also an anonymised author; the post stands without them."""
        tag = await create_tag()
        post = await create_post(category=await create_category(), tags=[tag], status=PostStatus.PUBLISHED)
        gone = await create_user(is_active=False)
        other = await create_post(author=gone)
        await User.collection().delete_many({"_id": post.author_id})
        await Category.collection().delete_many({})
        await Tag.collection().delete_many({})

        shown = await to_summaries([await _row(post, SUMMARY_FIELDS), await _row(other, SUMMARY_FIELDS)])

        assert [(one.author, one.category, one.tags) for one in shown] == [(None, None, []), (None, None, [])]

    async def test_cold_names_cost_one_command_and_warm_ones_none(self, commands: CommandLog) -> None:
        posts = [await create_post(category=await create_category(), tags=[await create_tag()]) for _ in range(3)]
        rows = [await _row(post, SUMMARY_FIELDS) for post in posts]
        with commands.counting() as cold:
            first = await to_summaries(rows)
        with commands.counting() as warm:
            again = await to_summaries(rows)
        assert (len(cold), len(warm)) == (1, 0)
        assert first == again


class TestToRead:
    async def test_page_holds_the_rendered_content_and_no_source(self) -> None:
        post = await create_post(content="Hello.", meta_title="M")
        read = await to_read(await _row(post, READ_FIELDS))
        assert (read.content_html, read.meta_title, read.revision, read.edited_at) == ("<p>Hello.</p>\n", "M", 1, None)
        assert "content" not in type(read).model_fields

    async def test_blg_m13_answer_holds_no_private_field_of_the_author(self) -> None:
        """BLG-S7, X-13, X-14: no e-mail, no hash, and ids as text."""
        author = await create_user(email="secret@example.com", password_hash="canary")
        category = await create_category()
        post = await create_post(author=author, category=category, tags=[await create_tag()])
        body = (await to_read(await _row(post, READ_FIELDS))).model_dump_json()
        assert "secret@example.com" not in body
        assert "canary" not in body
        assert f'"category":{{"id":"{category.id}"' in body


class TestToEdit:
    async def test_author_gets_the_markdown(self) -> None:
        post = await create_post(content="**Hello.**")
        assert (await to_edit(await _row(post, EDIT_FIELDS))).content == "**Hello.**"


class TestForgetReferences:
    async def test_changed_name_shows_after_it_is_forgotten(self) -> None:
        tag = await create_tag(name="Old", slug="old")
        row = await _row(await create_post(tags=[tag]), SUMMARY_FIELDS)
        await to_summaries([row])
        await Tag.collection().update_one({"_id": tag.id}, {"$set": {"name": "New"}})

        assert (await to_summaries([row]))[0].tags[0].name == "Old"
        forget_references(tags=[tag.id])
        assert (await to_summaries([row]))[0].tags[0].name == "New"


class TestStampOf:
    async def test_stamp_moves_with_counters_and_names_and_not_by_itself(self) -> None:
        author = await create_user()
        post = await create_post(author=author, status=PostStatus.PUBLISHED)
        row = await _row(post, READ_FIELDS)
        before = stamp_of(await to_read(row))
        assert stamp_of(await to_read(row)) == before
        assert stamp_of(await to_read({**row, "likes_count": 1})) != before
        await User.collection().update_one({"_id": author.id}, {"$set": {"first_name": "Janet"}})
        forget_references(authors=[author.id])
        assert stamp_of(await to_read(row)) != before


class TestGetPublishedPost:
    async def test_row_is_projected(self) -> None:
        post = await create_post(status=PostStatus.PUBLISHED, title="T")
        assert await get_published_post(post.id, {"title": 1}) == {"_id": post.id, "title": "T", "status": "published"}

    @pytest.mark.parametrize("status", [status for status in PostStatus if status is not PostStatus.PUBLISHED])
    async def test_any_other_status_is_not_found(self, status: PostStatus) -> None:
        post = await create_post(status=status)
        with pytest.raises(PostNotFoundError):
            await get_published_post(post.id)

    async def test_unknown_id_is_not_found(self, database: Database) -> None:
        with pytest.raises(PostNotFoundError):
            await get_published_post(PydanticObjectId())


async def _row(post: Post, fields: dict[str, int]) -> dict[str, object]:
    row = await Post.find_row({"_id": post.id}, fields)
    assert row is not None
    return row
