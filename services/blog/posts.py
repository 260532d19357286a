"""Posts: written, edited, read one by one and in pages. How they become public is in `lifecycle`."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from beanie import PydanticObjectId

from models.base import now as present
from models.base import to_milliseconds
from models.blog.posts import Post, PostEdit, PostSlug, PostStatus, PostSummary
from models.database import Session, after_commit, run_transaction, start_again
from models.events import EventType
from models.users import User
from services.blog.categories import get_active_category
from services.blog.lifecycle import move_post, publication_of, record_post_event, record_publication
from services.blog.listing import PostFilter, PostSort, forget_public_lists, list_public
from services.blog.pages import NotPublicError, PostPage, get_public_page, make_page
from services.blog.reading import (
    EDIT_FIELDS,
    SUMMARY_FIELDS,
    PostNotFoundError,
    get_editable_post,
    may_edit,
    to_edit,
    to_read,
    to_summaries,
)
from services.blog.slugs import claim_slug, claim_slug_of_title
from services.blog.writing import (
    PostChanges,
    PostDraft,
    ScheduleInPastError,
    derived_from_content,
    keep_revision,
    resolve_tags,
    terms_with,
)
from services.errors import InvalidStateError, PermissionDeniedError, require_revision
from services.pagination import Page, PageRequest, page_of
from services.users.permissions import Permission, Viewer
from services.views import Visit

_KEPT = [status.value for status in PostStatus if status is not PostStatus.TRASHED]
_TAG_FIELDS = {"tag_ids", "tag_names"}


class PostInTrashError(InvalidStateError):
    """What is in the trash is not edited: restore it first."""

    code = "post_in_trash"

    def __init__(self) -> None:
        super().__init__("This post is in the trash: restore it first.")


@dataclass(frozen=True, slots=True)
class PostMoved:
    """The slug asked for is an old one of a post that is now found under `slug`."""

    slug: str


class PostService:
    @staticmethod
    async def create_post(draft: PostDraft, *, viewer: Viewer, now: datetime | None = None) -> PostEdit:
        """The stored post of the viewer: a draft, one that waits for its time, or published at once.

        All or nothing: a post that fails leaves no tag, slug or counter behind. Raises PermissionDeniedError,
        CategoryNotFoundError, TagNotFoundError, InvalidTagNameError, TooManyTagsError, SlugTakenError, ScheduleInPastError.
        """
        viewer.require(Permission.WRITE_POSTS)
        now = to_milliseconds(now or present())
        if draft.status is PostStatus.SCHEDULED and (draft.scheduled_at is None or draft.scheduled_at <= now):
            raise ScheduleInPastError(draft.scheduled_at)
        if draft.unpublish_at is not None and draft.unpublish_at <= max(now, draft.scheduled_at or now):
            raise ScheduleInPastError(draft.unpublish_at)
        written = await derived_from_content(draft.content)

        async def work(session: Session) -> Post:
            await _get_active_author(viewer.user_id, session)
            if draft.category_id is not None:
                await get_active_category(draft.category_id, session=session)
            tag_ids = await resolve_tags(draft.tag_ids, draft.tag_names, session=session)
            post = await _store_draft(draft, written, tag_ids, viewer, session)
            if draft.status is PostStatus.PUBLISHED:
                publication = publication_of(post, now)
                return await move_post(post, PostStatus.PUBLISHED, publication, actor_id=viewer.user_id, session=session)
            return post

        post = await run_transaction(work)
        if post.status is PostStatus.PUBLISHED:
            after_commit(forget_public_lists)
        return await to_edit(post.row())

    @staticmethod
    async def get_post_by_slug(slug: str, *, viewer: Viewer | None, visit: Visit | None = None) -> PostPage | PostMoved:
        """A published post, or one of any status but trashed to those who may edit it; `PostMoved` for an old slug of one.

        The views on it may be a minute old, the rest is not (see `pages`). `visit` is counted for a published post, without
        waiting. At most two commands, none for a page that was read a moment ago. Raises PostNotFoundError.
        """
        try:
            page = await get_public_page(slug)
        except NotPublicError as found:
            if found.row is None:
                return await _find_moved(slug, viewer)
            if not _is_visible(found.row, viewer):
                raise PostNotFoundError(slug) from None
            return make_page(await to_read(found.row))
        if visit is not None:
            visit.count(page.post.id)
        return page

    @staticmethod
    async def get_post_for_edit(post_id: PydanticObjectId, *, viewer: Viewer) -> PostEdit:
        """A post with its Markdown and dates, of any status, for those who may edit it. Raises PostNotFoundError."""
        row = await Post.find_row({"_id": post_id}, EDIT_FIELDS)
        if row is None or not may_edit(row["author_id"], viewer):
            raise PostNotFoundError(post_id)
        return await to_edit(row)

    @staticmethod
    async def list_published(
        request: PageRequest, *, wanted: PostFilter | None = None, sort: PostSort = PostSort.NEWEST
    ) -> Page[PostSummary]:
        """Published posts, newest first unless `sort` says otherwise. The total is up to 5 s old. One command when warm.

        Empty for a category, tag or author that does not exist.
        """
        return await list_public(request, wanted=wanted or PostFilter(), sort=sort)

    @staticmethod
    async def list_own(request: PageRequest, *, viewer: Viewer, status: PostStatus | None = None) -> Page[PostSummary]:
        """The viewer's posts, last created first: of one status, or of all but the trashed ones."""
        query = {"author_id": viewer.user_id, "status": status.value if status is not None else {"$in": _KEPT}}
        total = await Post.count_rows(query)
        rows = await Post.find_rows(query, SUMMARY_FIELDS, sort=[("_id", -1)], skip=request.skip, limit=request.limit)
        return page_of(await to_summaries(rows), request, total)

    @staticmethod
    async def update_post(
        post_id: PydanticObjectId,
        changes: PostChanges,
        *,
        viewer: Viewer,
        revision: int | None,
        now: datetime | None = None,
    ) -> PostEdit:
        """The post with the changes in it, as a new revision; nothing to change makes none.

        `revision` is the one the caller read, None for whichever is current. A new slug leaves the old one redirecting.
        Raises PostNotFoundError, PostInTrashError, PreconditionError, SlugTakenError, CategoryNotFoundError,
        TagNotFoundError, InvalidTagNameError, TooManyTagsError, ScheduleInPastError.
        """
        now = to_milliseconds(now or present())
        given = changes.model_fields_set
        if "unpublish_at" in given and changes.unpublish_at is not None and changes.unpublish_at <= now:
            raise ScheduleInPastError(changes.unpublish_at)
        fields = changes.model_dump(include=given - _TAG_FIELDS)
        if "content" in given:
            fields |= await derived_from_content(changes.content)

        async def work(session: Session) -> Post:
            before = await get_editable_post(post_id, viewer=viewer, session=session)
            if before.status is PostStatus.TRASHED:
                raise PostInTrashError
            require_revision(revision, before.revision)
            if not given:
                return before
            edit = {**fields, "edited_at": now}
            if "slug" in given:
                await claim_slug(changes.slug, post_id, session=session)
            if changes.category_id is not None and changes.category_id != before.category_id:
                await get_active_category(changes.category_id, session=session)
            if given & _TAG_FIELDS:
                edit["tag_ids"] = await resolve_tags(changes.tag_ids, changes.tag_names, session=session)
            if given & {"title", "excerpt", "content"}:
                edit["terms"] = terms_with({"title": before.title, "excerpt": before.excerpt, "content": before.content} | edit)
            as_read = {"_id": post_id, "status": before.status, "revision": before.revision}
            slug = edit.pop("slug", before.slug)
            after = await Post.change(as_read, {"$set": edit, "$inc": {"revision": 1}}, session=session)
            if after is not None and slug != before.slug:
                after = await Post.rekey({"_id": post_id}, {"slug": slug}, session=session)
            if after is None:
                raise start_again("the post was changed meanwhile")
            await keep_revision(after, viewer.user_id, session=session)
            await record_publication(before, after, actor_id=viewer.user_id, session=session)
            await record_post_event(EventType.POST_UPDATED, after, actor_id=viewer.user_id, session=session)
            return after

        post = await run_transaction(work, hot=[post_id])
        if post.status is PostStatus.PUBLISHED:
            after_commit(forget_public_lists)
        return await to_edit(post.row())


async def _get_active_author(user_id: PydanticObjectId, session: Session) -> None:
    """Raises PermissionDeniedError: a session may outlive its owner's account by a moment."""
    row = await User.find_row({"_id": user_id}, {"is_active": 1}, session=session)
    if row is None or not row["is_active"]:
        raise PermissionDeniedError


async def _store_draft(
    draft: PostDraft, written: Mapping[str, Any], tag_ids: list[PydanticObjectId], viewer: Viewer, session: Session
) -> Post:
    """The post with its slug, first revision and event; one that is to be published is stored as a draft first."""
    waits = draft.status is PostStatus.SCHEDULED
    fields = draft.model_dump(exclude={"tag_ids", "tag_names", "status", "scheduled_at", "slug"})
    post = Post(
        **{
            **fields,
            **written,
            "slug": "",
            "author_id": viewer.user_id,
            "tag_ids": tag_ids,
            "status": PostStatus.SCHEDULED if waits else PostStatus.DRAFT,
            "scheduled_at": draft.scheduled_at if waits else None,
            "terms": terms_with(fields),
        }
    )
    if draft.slug is None:
        post.slug = await claim_slug_of_title(draft.title, post.id, session=session)
    else:
        await claim_slug(draft.slug, post.id, session=session)
        post.slug = draft.slug
    await post.store(session=session)
    await keep_revision(post, viewer.user_id, session=session)
    await record_post_event(EventType.POST_CREATED, post, actor_id=viewer.user_id, session=session)
    return post


async def _find_moved(slug: str, viewer: Viewer | None) -> PostMoved:
    """Where the post that once had this slug is found today. Raises PostNotFoundError."""
    rows = await PostSlug.aggregate_rows(
        [
            {"$match": {"slug": slug}},
            {"$lookup": {"from": "posts", "localField": "post_id", "foreignField": "_id", "as": "post"}},
            {"$unwind": "$post"},
            {"$project": {"slug": "$post.slug", "status": "$post.status", "author_id": "$post.author_id"}},
        ]
    )
    if not rows or not _is_visible(rows[0], viewer):
        raise PostNotFoundError(slug)
    return PostMoved(rows[0]["slug"])


def _is_visible(row: Mapping[str, Any], viewer: Viewer | None) -> bool:
    if row["status"] == PostStatus.PUBLISHED:
        return True
    if viewer is None or row["status"] == PostStatus.TRASHED:
        return False
    return viewer.user_id == row["author_id"] or viewer.can(Permission.EDIT_ANY_POST)
