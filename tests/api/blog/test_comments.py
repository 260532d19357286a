"""The comment routes, as anonymous, author, stranger and staff."""

from typing import Any

import httpx2
import pytest
from beanie import PydanticObjectId

from models.blog.comments import Comment, CommentBan, CommentStatus
from models.blog.posts import Post, PostStatus
from models.users import Role, User
from tests.api.conftest import Headers, SignIn
from tests.commands import CommandLog
from tests.factories.blog import create_post
from tests.factories.comments import create_ban, create_comment
from tests.factories.users import create_session, create_user

API = "/api/v1/blog"
GUEST = {"name": "Ada", "email": "ada@example.com", "website": "https://ada.example"}
PRIVATE = ("content", "author_email", "address", "user_agent")


async def published(author: User | None = None) -> Post:
    return await create_post(author=author, status=PostStatus.PUBLISHED)


async def headers_of(user: User) -> Headers:
    return {"Authorization": f"Bearer {await create_session(user)}"}


async def stored(comment: Comment) -> dict[str, Any]:
    row = await Comment.find_row({"_id": comment.id})
    assert row is not None
    return row


async def comments_count(post: Post) -> int:
    row = await Post.find_row({"_id": post.id}, {"comments_count": 1})
    assert row is not None
    count: int = row["comments_count"]
    return count


class TestAddComment:
    async def test_guest_waits_and_nothing_private_is_answered(self, client: httpx2.AsyncClient) -> None:
        post = await published()

        answer = await client.post(f"{API}/posts/{post.id}/comments", json={"content": "**Hi**", "guest": GUEST})

        assert answer.status_code == 201
        body = answer.json()
        assert (body["status"], body["author_name"], body["author"]) == ("pending", "Ada", None)
        assert body["content_html"] == "<p><strong>Hi</strong></p>\n"
        assert not set(body) & set(PRIVATE)
        row = await Comment.find_row({})
        assert row is not None
        assert (row["author_email"], row["address"]) == ("ada@example.com", "203.0.113.7")
        assert await comments_count(post) == 0

    async def test_blg_s8_author_cannot_be_chosen(self, client: httpx2.AsyncClient, as_role: SignIn) -> None:
        post = await published()
        headers = await as_role(Role.USER, username="grace")
        url = f"{API}/posts/{post.id}/comments"

        forged = await client.post(url, headers=headers, json={"content": "x", "author_id": str(post.author_id)})
        answer = await client.post(url, headers=headers, json={"content": "x", "guest": GUEST})

        assert forged.status_code == 422
        assert answer.json()["author"]["username"] == "grace"
        assert [row["author_email"] for row in await Comment.find_rows({})] == [None]

    async def test_editor_is_approved_at_once(self, client: httpx2.AsyncClient, as_role: SignIn) -> None:
        post = await published()

        answer = await client.post(f"{API}/posts/{post.id}/comments", headers=await as_role(Role.EDITOR), json={"content": "x"})

        assert answer.json()["status"] == "approved"
        assert await comments_count(post) == 1

    async def test_idempotency_key_writes_one_comment_and_counts_it_once(
        self, client: httpx2.AsyncClient, as_role: SignIn
    ) -> None:
        post = await published()
        headers = {**await as_role(Role.EDITOR), "Idempotency-Key": "one"}

        answers = [await client.post(f"{API}/posts/{post.id}/comments", headers=headers, json={"content": "x"}) for _ in range(2)]

        assert answers[0].status_code == answers[1].status_code == 201
        assert answers[0].content == answers[1].content
        assert await comments_count(post) == 1

    @pytest.mark.parametrize(
        ("body", "status", "code"),
        [
            ({}, 422, "malformed_input"),
            ({"content": ""}, 422, "malformed_input"),
            ({"content": "x" * 1001}, 422, "malformed_input"),
            ({"content": {"$gt": ""}}, 422, "malformed_input"),
            ({"content": "x"}, 400, "invalid_comment"),
            ({"content": " ", "guest": GUEST}, 400, "invalid_comment"),
            ({"content": "x", "guest": {"name": "Ada"}}, 422, "malformed_input"),
            ({"content": "x", "guest": {**GUEST, "email": "nobody"}}, 400, "invalid_comment"),
            ({"content": "x", "guest": {**GUEST, "website": "javascript:alert(1)"}}, 422, "malformed_input"),
            ({"content": "x", "guest": GUEST, "status": "approved"}, 422, "malformed_input"),
            ({"content": "x", "guest": GUEST, "parent_id": "nonsense"}, 422, "malformed_input"),
            ({"content": "x", "guest": GUEST, "parent_id": "65f0c0ffee0ddba11ca7f00d"}, 404, "comment_not_found"),
        ],
    )
    async def test_bad_input_is_refused_and_writes_nothing(
        self, client: httpx2.AsyncClient, body: dict[str, Any], status: int, code: str
    ) -> None:
        post = await published()

        answer = await client.post(f"{API}/posts/{post.id}/comments", json=body)

        assert (answer.status_code, answer.json()["code"]) == (status, code)
        assert await Comment.find_rows({}) == []

    async def test_draft_unknown_and_malformed_post(self, client: httpx2.AsyncClient) -> None:
        draft = await create_post()

        answers = [
            await client.post(f"{API}/posts/{post_id}/comments", json={"content": "x", "guest": GUEST})
            for post_id in (draft.id, PydanticObjectId(), "nonsense")
        ]

        assert [answer.status_code for answer in answers] == [404, 404, 422]

    async def test_banned_network_is_refused_with_its_own_code(self, client: httpx2.AsyncClient) -> None:
        post = await published()
        await create_ban("address:203.0.113.7")

        answer = await client.post(f"{API}/posts/{post.id}/comments", json={"content": "x", "guest": GUEST})

        assert (answer.status_code, answer.json()["code"]) == (403, "banned_from_commenting")
        assert await Comment.find_rows({}) == []


class TestListThreads:
    async def test_anyone_reads_threads_without_private_fields(self, client: httpx2.AsyncClient) -> None:
        post = await published()
        root = await create_comment(post=post)
        reply = await create_comment(parent=root)
        await create_comment(post=post, status=CommentStatus.PENDING, content="not yet")

        answer = await client.get(f"{API}/posts/{post.id}/comments")

        assert answer.status_code == 200
        (thread,) = answer.json()["items"]
        assert (thread["id"], [shown["id"] for shown in thread["replies"]]) == (str(root.id), [str(reply.id)])
        assert not set(thread) & set(PRIVATE)
        assert not set(thread["replies"][0]) & set(PRIVATE)
        assert root.author_email is not None
        assert root.author_email not in answer.text
        assert "not yet" not in answer.text

    async def test_replies_follow_by_cursor(self, client: httpx2.AsyncClient) -> None:
        root = await create_comment(post=await published())
        made = [str((await create_comment(parent=root)).id) for _ in range(3)]

        first = (await client.get(f"{API}/comments/{root.id}/replies?limit=2")).json()
        last = (await client.get(f"{API}/comments/{root.id}/replies?limit=2&cursor={first['next_cursor']}")).json()

        assert [reply["id"] for reply in first["items"] + last["items"]] == made
        assert last["next_cursor"] is None

    async def test_bad_cursor_and_limit(self, client: httpx2.AsyncClient) -> None:
        post = await published()

        cursor = await client.get(f"{API}/posts/{post.id}/comments?cursor=forged")
        limit = await client.get(f"{API}/posts/{post.id}/comments?limit=101")

        assert (cursor.status_code, cursor.json()["code"]) == (400, "invalid_cursor")
        assert limit.status_code == 422

    async def test_budget(self, client: httpx2.AsyncClient, commands: CommandLog) -> None:
        post = await published()
        root = await create_comment(post=post)
        await create_comment(parent=root)

        with commands.counting() as sent:
            await client.get(f"{API}/posts/{post.id}/comments")

        assert [command for command in sent.sent if "rate" not in command] == [
            "find posts",
            "aggregate comments",
            "aggregate comments",
        ]


class TestUpdateComment:
    async def test_owner_edits_everyone_else_finds_nothing(self, client: httpx2.AsyncClient, as_role: SignIn) -> None:
        owner = await create_user()
        comment = await create_comment(post=await published(), author_id=owner.id, status=CommentStatus.PENDING)
        url = f"{API}/comments/{comment.id}"

        refused = [
            (await client.patch(url, headers=headers, json={"content": "forged"})).status_code
            for headers in ({}, await as_role(Role.USER), await as_role(Role.EDITOR))
        ]
        assert refused == [401, 404, 404]
        assert (await stored(comment))["revision"] == 1

        answer = await client.patch(url, headers=await headers_of(owner), json={"content": "better"})
        assert (answer.status_code, answer.json()["content_html"]) == (200, "<p>better</p>\n")

    async def test_if_match_guards(self, client: httpx2.AsyncClient) -> None:
        owner = await create_user()
        comment = await create_comment(post=await published(), author_id=owner.id, revision=3)
        headers = await headers_of(owner)

        stale = await client.patch(
            f"{API}/comments/{comment.id}", headers={**headers, "If-Match": '"2-x"'}, json={"content": "x"}
        )
        current = await client.patch(
            f"{API}/comments/{comment.id}", headers={**headers, "If-Match": '"3-x"'}, json={"content": "x"}
        )

        assert (stale.status_code, current.status_code) == (412, 200)
        assert current.json()["revision"] == 4


class TestDeleteComment:
    @pytest.mark.parametrize(
        ("who", "status"),
        [("anonymous", 401), ("stranger", 404), ("owner", 204), ("editor", 204), ("author_of_the_post", 204)],
    )
    async def test_owner_moderator_and_the_posts_author_delete(
        self, client: httpx2.AsyncClient, as_role: SignIn, who: str, status: int
    ) -> None:
        owner, writer = await create_user(), await create_user(role=Role.AUTHOR)
        post = await published(writer)
        comment = await create_comment(post=post, author_id=owner.id)
        headers = {
            "anonymous": {},
            "stranger": await as_role(Role.AUTHOR),
            "owner": await headers_of(owner),
            "editor": await as_role(Role.EDITOR),
            "author_of_the_post": await headers_of(writer),
        }[who]

        answer = await client.delete(f"{API}/comments/{comment.id}", headers=headers)

        assert answer.status_code == status
        is_deleted = status == 204
        assert ((await stored(comment))["status"] == "deleted") is is_deleted
        assert await comments_count(post) == (0 if is_deleted else 1)


class TestModeration:
    @pytest.mark.parametrize(("action", "after"), [("approve", "approved"), ("reject", "rejected"), ("spam", "spam")])
    async def test_blg_s9_moderators_and_the_posts_author_decide(
        self, client: httpx2.AsyncClient, as_role: SignIn, action: str, after: str
    ) -> None:
        writer, commenter = await create_user(role=Role.AUTHOR), await create_user()
        post = await published(writer)
        comment = await create_comment(post=post, author_id=commenter.id, status=CommentStatus.PENDING)
        url = f"{API}/comments/{comment.id}/{action}"

        refused = [
            (await client.post(url, headers=headers)).status_code
            for headers in ({}, await headers_of(commenter), await as_role(Role.AUTHOR))
        ]
        assert refused == [401, 404, 404]
        assert (await stored(comment))["status"] == "pending"

        for headers in (await headers_of(writer), await as_role(Role.EDITOR)):
            answer = await client.post(url, headers=headers)
            assert (answer.status_code, answer.json()["status"]) == (200, after)
            assert answer.json()["content"] == comment.content
        assert await comments_count(post) == (1 if action == "approve" else 0)

    async def test_queue_is_for_moderators_and_the_posts_author(self, client: httpx2.AsyncClient, as_role: SignIn) -> None:
        writer = await create_user(role=Role.AUTHOR)
        post = await published(writer)
        comment = await create_comment(post=post, status=CommentStatus.PENDING)
        of_post = f"{API}/comments/queue?post_id={post.id}"

        assert (await client.get(f"{API}/comments/queue")).status_code == 401
        for headers in (await as_role(Role.USER), await as_role(Role.AUTHOR)):
            assert (await client.get(f"{API}/comments/queue", headers=headers)).status_code == 403
            assert (await client.get(of_post, headers=headers)).status_code == 403
        for url, headers in ((f"{API}/comments/queue", await as_role(Role.EDITOR)), (of_post, await headers_of(writer))):
            (row,) = (await client.get(url, headers=headers)).json()["items"]
            assert (row["id"], row["author_email"]) == (str(comment.id), comment.author_email)

    async def test_unknown_status_is_refused(self, client: httpx2.AsyncClient, as_role: SignIn) -> None:
        answer = await client.get(f"{API}/comments/queue?status=nonsense", headers=await as_role(Role.EDITOR))

        assert answer.status_code == 422

    async def test_bulk_answers_for_each(self, client: httpx2.AsyncClient, as_role: SignIn) -> None:
        post = await published()
        comment = await create_comment(post=post, status=CommentStatus.PENDING)
        body = {"action": "approve", "comment_ids": [str(comment.id), "65f0c0ffee0ddba11ca7f00d"]}
        url = f"{API}/comments/moderate"

        assert (await client.post(url, json=body)).status_code == 401
        assert (await client.post(url, json=body, headers=await as_role(Role.AUTHOR))).status_code == 403
        assert await comments_count(post) == 0
        headers = {**await as_role(Role.EDITOR), "Idempotency-Key": "bulk"}
        for _ in range(2):
            answer = await client.post(url, json=body, headers=headers)
            assert answer.status_code == 200
            assert [(row["status"], row["error"]) for row in answer.json()] == [
                ("approved", None),
                (None, "comment_not_found"),
            ]
        assert await comments_count(post) == 1

    @pytest.mark.parametrize("ids", [[], ["nonsense"], ["65f0c0ffee0ddba11ca7f00d"] * 101])
    async def test_bulk_takes_1_to_100_ids(self, client: httpx2.AsyncClient, as_role: SignIn, ids: list[str]) -> None:
        answer = await client.post(
            f"{API}/comments/moderate",
            json={"action": "approve", "comment_ids": ids},
            headers=await as_role(Role.EDITOR),
        )

        assert answer.status_code == 422


class TestBans:
    async def test_life_of_a_ban(self, client: httpx2.AsyncClient, as_role: SignIn) -> None:
        headers = await as_role(Role.EDITOR)
        url = f"{API}/comment-bans"

        created = await client.post(
            url, headers=headers, json={"kind": "email", "value": "Troll@example.com", "reason": "Insults"}
        )
        again = await client.post(url, headers=headers, json={"kind": "email", "value": "troll@example.com"})
        listed = await client.get(url, headers=headers)
        lifted = await client.delete(f"{url}/{created.json()['id']}", headers=headers)
        gone = await client.delete(f"{url}/{created.json()['id']}", headers=headers)

        assert (created.status_code, created.json()["value"]) == (201, "troll@example.com")
        assert (again.status_code, again.json()["code"]) == (409, "already_banned")
        assert listed.json()["items"] == [created.json()]
        assert listed.json()["total_count"] == 1
        assert (lifted.status_code, gone.status_code) == (204, 404)

    async def test_is_for_moderators(self, client: httpx2.AsyncClient, as_role: SignIn) -> None:
        ban = await create_ban("address:198.51.100.7")
        body = {"kind": "address", "value": "203.0.113.7"}
        for headers, status in (({}, 401), (await as_role(Role.USER), 403), (await as_role(Role.AUTHOR), 403)):
            answers = [
                await client.post(f"{API}/comment-bans", json=body, headers=headers),
                await client.get(f"{API}/comment-bans", headers=headers),
                await client.delete(f"{API}/comment-bans/{ban.id}", headers=headers),
            ]
            assert [answer.status_code for answer in answers] == [status] * 3

        assert [row["key"] for row in await CommentBan.find_rows({})] == ["address:198.51.100.7"]

    @pytest.mark.parametrize(
        ("body", "status"),
        [
            ({"kind": "address", "value": "nonsense"}, 400),
            ({"kind": "user", "value": "nonsense"}, 400),
            ({"kind": "address", "value": "203.0.113.7", "expires_at": "2020-01-01T00:00:00Z"}, 400),
            ({"kind": "address", "value": "203.0.113.7", "expires_at": "2020-01-01T00:00:00"}, 422),
            # A time that UTC cannot hold: it was an error of ours.
            ({"kind": "address", "value": "203.0.113.7", "expires_at": "9999-12-31T23:59:59-14:00"}, 422),
            ({"kind": "nonsense", "value": "x"}, 422),
            ({"kind": "user", "value": {"$ne": None}}, 422),
        ],
    )
    async def test_bad_input_is_refused(
        self, client: httpx2.AsyncClient, as_role: SignIn, body: dict[str, Any], status: int
    ) -> None:
        answer = await client.post(f"{API}/comment-bans", headers=await as_role(Role.EDITOR), json=body)

        assert answer.status_code == status
        assert await CommentBan.find_rows({}) == []
