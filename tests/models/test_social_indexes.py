"""Every read of comments, bans, likes and follows is served by a declared index, as it is really sent."""

import pytest
from pymongo import ASCENDING, DESCENDING

from models.blog.comments import CommentStatus
from models.blog.posts import PostStatus
from models.database import Database
from models.social import LikeKind
from models.users import Role
from services.blog.bans import BanService
from services.blog.comments import CommentService
from services.blog.moderation import ModerationService
from services.pagination import CursorCodec
from services.social import FollowService, LikeService
from tests.commands import CommandLog, Read
from tests.factories.blog import create_post
from tests.factories.comments import create_comment, create_follow
from tests.factories.users import create_user, viewer_of
from tests.shapes import serving_index

CURSORS = CursorCodec(b"0" * 32)


class TestServingIndex:
    @pytest.mark.parametrize(
        ("read", "index"),
        [
            (Read("comments", {"status": "pending"}, [("_id", ASCENDING)]), "status_oldest"),
            (Read("comments", {"status": "pending"}, [("_id", DESCENDING)]), "status_oldest"),
            (Read("comments", {"content": "x"}, []), None),
            (Read("comments", {"status": "pending"}, [("created_at", ASCENDING)]), None),
            (Read("follows", {"following_id": 1, "_id": {"$lt": 2}}, [("_id", DESCENDING)]), "following_newest"),
            (Read("follows", {"following_id": 1, "created_at": {"$lt": 2}}, []), None),
            (Read("post_views", {"day": {"$gte": 1}}, []), "day"),
        ],
    )
    def test_tells_served_reads_from_others(self, read: Read, index: str | None) -> None:
        assert serving_index(read) == index


class TestReads:
    async def test_every_list_and_look_up_is_served(self, database: Database, commands: CommandLog) -> None:
        post = await create_post(status=PostStatus.PUBLISHED)
        roots = [await create_comment(post=post) for _ in range(3)]
        for root in roots:
            for _ in range(2):
                await create_comment(parent=root)
                await create_comment(post=post, status=CommentStatus.PENDING)
        people = [await create_user() for _ in range(3)]
        await create_follow(people[1], people[0])
        await create_follow(people[2], people[0])
        await create_follow(people[0], people[1])
        await create_follow(people[0], people[2])
        editor = viewer_of(await create_user(role=Role.EDITOR))
        name = people[0].username

        with commands.counting() as sent:
            threads = await CommentService.list_threads(post.id, cursors=CURSORS, limit=1)
            await CommentService.list_threads(post.id, cursors=CURSORS, cursor=threads.next_cursor, limit=1)
            replies = await CommentService.list_replies(roots[0].id, cursors=CURSORS, limit=1)
            await CommentService.list_replies(roots[0].id, cursors=CURSORS, cursor=replies.next_cursor, limit=1)
            for post_id in (None, post.id):
                queue = await ModerationService.list_queue(viewer=editor, cursors=CURSORS, post_id=post_id, limit=1)
                await ModerationService.list_queue(
                    viewer=editor, cursors=CURSORS, post_id=post_id, cursor=queue.next_cursor, limit=1
                )
            await BanService.check_not_banned(email="ada@example.com", address="203.0.113.7")
            await LikeService.like(post.id, kind=LikeKind.POST, viewer=editor)
            for listing in (FollowService.list_followers, FollowService.list_following):
                page = await listing(name, cursors=CURSORS, limit=1)
                await listing(name, cursors=CURSORS, cursor=page.next_cursor, limit=1)
            await FollowService.is_following(name, viewer=editor)

        served = {(read.collection, serving_index(read)) for read in sent.reads}
        assert served == {
            ("posts", "_id_"),
            ("users", "_id_"),
            ("users", "username_unique"),
            ("comments", "_id_"),
            ("comments", "post_parent_status_newest"),
            ("comments", "root_status_oldest"),
            ("comments", "status_oldest"),
            ("comments", "post_status_oldest"),
            ("comment_bans", "key_unique"),
            ("likes", "subject_user_unique"),
            ("follows", "follower_following_unique"),
            ("follows", "following_newest"),
            ("follows", "follower_newest"),
        }
