"""The history of a post's content: read, compared, brought back."""

import asyncio
import difflib

from beanie import PydanticObjectId

from models.blog.posts import PostEdit, PostRevision, RevisionDiff, RevisionRead, RevisionSummary
from services.blog.posts import PostService
from services.blog.reading import get_editable_post
from services.blog.writing import PostChanges
from services.errors import NotFoundError, RuleViolatedError
from services.pagination import Page, PageRequest, page_of
from services.users.permissions import Viewer

MAX_LINES = 10_000


class RevisionNotFoundError(NotFoundError):
    """The post has no revision of this number."""

    code = "revision_not_found"

    def __init__(self, number: int) -> None:
        super().__init__("revision", number)


class DiffTooLongError(RuleViolatedError):
    """The texts have too many lines to be compared line by line."""

    code = "diff_too_long"

    def __init__(self) -> None:
        super().__init__(f"Texts of more than {MAX_LINES} lines are not compared.")


class RevisionService:
    @staticmethod
    async def list_revisions(post_id: PydanticObjectId, request: PageRequest, *, viewer: Viewer) -> Page[RevisionSummary]:
        """Newest first. Raises PostNotFoundError to whoever may not edit the post, as everything here does."""
        await get_editable_post(post_id, viewer=viewer)
        query = {"post_id": post_id}
        total = await PostRevision.count_rows(query)
        fields = {"number": 1, "title": 1, "editor_id": 1, "created_at": 1}
        rows = await PostRevision.find_rows(query, fields, sort=[("number", -1)], skip=request.skip, limit=request.limit)
        return page_of([RevisionSummary.model_validate(row) for row in rows], request, total)

    @staticmethod
    async def get_revision(post_id: PydanticObjectId, number: int, *, viewer: Viewer) -> RevisionRead:
        """Raises PostNotFoundError, RevisionNotFoundError."""
        await get_editable_post(post_id, viewer=viewer)
        row = await PostRevision.find_row({"post_id": post_id, "number": number})
        if row is None:
            raise RevisionNotFoundError(number)
        return RevisionRead.model_validate(row)

    @staticmethod
    async def diff_revisions(post_id: PydanticObjectId, *, from_number: int, to_number: int, viewer: Viewer) -> RevisionDiff:
        """What turns one revision's Markdown into the other's; either may be the older one.

        Raises PostNotFoundError, RevisionNotFoundError, DiffTooLongError.
        """
        old = await RevisionService.get_revision(post_id, from_number, viewer=viewer)
        new = await RevisionService.get_revision(post_id, to_number, viewer=viewer)
        # In a thread: comparing long texts takes a while.
        diff = await asyncio.to_thread(unified_diff, old, new)
        return RevisionDiff(from_number=from_number, to_number=to_number, title_changed=old.title != new.title, diff=diff)

    @staticmethod
    async def restore_revision(post_id: PydanticObjectId, number: int, *, viewer: Viewer, revision: int | None) -> PostEdit:
        """The post with the title, content and excerpt of that revision, as a new one.

        `revision` is the one the caller read, None for whichever is current. Raises PostNotFoundError,
        RevisionNotFoundError, PostInTrashError, PreconditionError.
        """
        old = await RevisionService.get_revision(post_id, number, viewer=viewer)
        changes = PostChanges(title=old.title, content=old.content, excerpt=old.excerpt)
        return await PostService.update_post(post_id, changes, viewer=viewer, revision=revision)


def unified_diff(old: RevisionRead, new: RevisionRead) -> str:
    """Raises DiffTooLongError."""
    before, after = old.content.splitlines(), new.content.splitlines()
    if max(len(before), len(after)) > MAX_LINES:
        raise DiffTooLongError
    names = (f"revision {old.number}", f"revision {new.number}")
    return "".join(f"{line}\n" for line in difflib.unified_diff(before, after, *names, lineterm=""))
