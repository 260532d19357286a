"""The moderation queue."""

import re
from typing import Any

import pytest

from models.audit import AuditEntry
from models.blog.comments import Comment, CommentStatus
from models.blog.posts import Post
from services.blog.moderation import ModerationService
from services.errors import UnavailableError
from tests.api.web.admin.conftest import Clerk
from tests.factories.blog import create_post
from tests.factories.comments import create_comment

QUEUE = "/admin/comments"


async def waiting(**over: Any) -> Comment:
    return await create_comment(post=await create_post(), status=CommentStatus.PENDING, **over)


class TestQueue:
    async def test_oldest_waits_first_and_other_states_have_tabs(self, editor: Clerk) -> None:
        first, second = await waiting(content="the first of them"), await waiting(content="the second one")
        await create_comment(post=await create_post(), content="long public")

        page = await editor.page(QUEUE)

        assert page.index("the first of them") < page.index("the second one")
        assert "long public" not in page
        assert f"{QUEUE}/{first.id}/approve" in page
        assert f"{QUEUE}/{second.id}/spam" in page
        approved = await editor.page(f"{QUEUE}?status=approved")
        assert "long public" in approved
        assert "the first of them" not in approved

    async def test_the_second_stretch_follows_the_first(self, editor: Clerk) -> None:
        post = await create_post()
        for number in range(21):
            await create_comment(post=post, status=CommentStatus.PENDING, content=f"number {number:02d} of them")

        page = await editor.page(QUEUE)

        assert "number 19 of them" in page
        assert "number 20 of them" not in page
        following = page.split('aria-label="Pages"')[1].split('href="')[1].split('"')[0]
        rest = await editor.page(following)
        assert "number 20 of them" in rest
        assert "number 19 of them" not in rest


class TestModerate:
    @pytest.mark.parametrize(
        ("move", "status", "counted"),
        [
            ("approve", CommentStatus.APPROVED, 1),
            ("reject", CommentStatus.REJECTED, 0),
            ("spam", CommentStatus.SPAM, 0),
        ],
    )
    async def test_goes_through_the_service_and_its_counters(
        self, editor: Clerk, move: str, status: CommentStatus, counted: int
    ) -> None:
        comment = await waiting()

        answer = await editor.send(f"{QUEUE}/{comment.id}/{move}", revision=1)

        assert (answer.status_code, answer.headers["location"]) == (303, f"{QUEUE}?done={move}")
        row, post = await Comment.find_row({"_id": comment.id}), await Post.find_row({"_id": comment.post_id})
        assert row is not None
        assert post is not None
        assert (row["status"], post["comments_count"]) == (status, counted)
        noted = await AuditEntry.find_rows({"subject": f"comment:{comment.id}"})
        assert [(one["action"], one["actor_id"]) for one in noted] == [(f"comment.{status}", editor.user.id)]
        assert 'role="status"' in await editor.page(answer.headers["location"])

    async def test_edited_meanwhile_is_refused_and_says_so(self, editor: Clerk) -> None:
        comment = await waiting()
        await Comment.change({"_id": comment.id}, {"$inc": {"revision": 1}, "$set": {"content": "something else"}})

        answer = await editor.send(f"{QUEUE}/{comment.id}/approve", revision=1)

        assert answer.status_code == 412
        assert 'role="alert"' in answer.text
        assert "something else" in answer.text
        row = await Comment.find_row({"_id": comment.id})
        assert row is not None
        assert row["status"] == CommentStatus.PENDING

    async def test_no_such_comment_leaves_the_queue_in_sight(self, editor: Clerk) -> None:
        await waiting(content="still here")

        answer = await editor.send(f"{QUEUE}/65f0c0ffee0ddba11ca7f00d/approve", revision=1)

        assert answer.status_code == 404
        assert "There is no such comment." in answer.text
        assert "still here" in answer.text

    async def test_the_page_of_a_refusal_leads_on_as_the_queue_does(self, editor: Clerk) -> None:
        answer = await editor.send(f"{QUEUE}/65f0c0ffee0ddba11ca7f00d/approve", revision=1)

        links = re.findall(r'href="(/admin/comments[^"]*)"', answer.text)
        assert set(links) >= {f"{QUEUE}?status=approved", f"{QUEUE}?status=spam"}
        assert {link for link in links if (await editor.get(link)).status_code != 200} == set()


class TestTrouble:
    async def test_what_nobody_expected_is_a_page_that_tells_nothing(
        self, editor: Clerk, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        async def broken(**_: object) -> None:
            raise RuntimeError("the inside of things")

        monkeypatch.setattr(ModerationService, "list_queue", broken)
        answer = await editor.get(QUEUE)

        assert (answer.status_code, answer.headers["content-type"]) == (500, "text/html; charset=utf-8")
        assert "Something went wrong on our side." in answer.text
        assert "inside of things" not in answer.text

    async def test_what_passes_says_when_to_try_again(self, editor: Clerk, monkeypatch: pytest.MonkeyPatch) -> None:
        async def away(**_: object) -> None:
            raise UnavailableError(retry_after=7)

        monkeypatch.setattr(ModerationService, "list_queue", away)
        answer = await editor.get(QUEUE)

        assert (answer.status_code, answer.headers["retry-after"]) == (503, "7")
        assert "Agora cannot answer right now." in answer.text
