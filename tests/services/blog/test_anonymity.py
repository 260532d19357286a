import pytest

from models.blog.comments import Comment
from models.users import Role
from services.blog.anonymity import ANONYMITY_CONSUMER
from services.events import EventService
from services.users.administration import UserAdministration
from tests.factories.blog import create_post
from tests.factories.comments import create_comment
from tests.factories.users import create_user, viewer_of

pytestmark = pytest.mark.usefixtures("database")


async def test_comments_of_a_deactivated_person_tell_no_address() -> None:
    post = await create_post()
    gone, other = await create_user(), await create_user()
    for author in (gone, other):
        await create_comment(post=post, author_id=author.id, address="203.0.113.9", user_agent="Browser/1")

    await UserAdministration.delete_user(gone.id, viewer=viewer_of(await create_user(role=Role.ADMIN)))
    await EventService.pump([ANONYMITY_CONSUMER])

    rows = await Comment.find_rows({}, {"author_id": 1, "address": 1, "user_agent": 1})
    kept = {row["author_id"]: (row["address"], row["user_agent"]) for row in rows}
    assert kept == {gone.id: (None, None), other.id: ("203.0.113.9", "Browser/1")}
