"""Everybody's posts: what editors take down, put back, archive and throw away. They are written by their authors."""

from api.web.admin.desk import ADMIN, Desk, Form
from api.web.admin.layout import Action, Badge, Field, Link, Page, Row, Table, Text, Value
from api.web.admin.subjects import user_link
from api.web.admin.views import Group, Move, View
from models.blog.posts import PostEdit, PostStatus, PostSummary
from models.users import AuthorName
from services.blog.desk import PostDeskService
from services.blog.lifecycle import SOURCES, PublishingService
from services.blog.posts import PostService
from services.users.permissions import Permission, Viewer

_PATH = f"{ADMIN}/posts"
_TONES = {PostStatus.PUBLISHED: "good", PostStatus.SCHEDULED: "wait", PostStatus.TRASHED: "bad"}
# Where a post goes, the word of the move, and how its button is called.
_STEPS = [
    (PostStatus.PUBLISHED, "publish", "Publish"),
    (PostStatus.DRAFT, "unpublish", "Take down"),
    (PostStatus.ARCHIVED, "archive", "Archive"),
    (PostStatus.TRASHED, "trash", "Throw away"),
]


async def _list(desk: Desk) -> Page:
    status, slug = desk.choice("status", PostStatus), desk.asked("search", max_length=200)
    found = await PostDeskService.list_posts(
        viewer=desk.viewer, cursors=desk.cursors, status=status, slug=slug, cursor=desk.cursor
    )
    columns = ["Title", "Author", "Category", "State", "Published", "Views", "Likes", "Comments"]
    return Page(
        title="Posts",
        tabs=desk.tabs("status", PostStatus, status),
        path=desk.path,
        search=[Field("search", "Slug, the last part of its address", "search", slug or "", max_length=200)],
        tables=[Table("Last begun first", columns, [_row(one, desk.viewer) for one in found.items], "No such post.")],
        paging=desk.further(found.next_cursor, status=status, search=slug),
    )


def _row(post: PostSummary, viewer: Viewer) -> Row:
    return Row(
        [
            Link(f"{_PATH}/{post.id}", post.title),
            _author(post.author, viewer),
            post.category.name if post.category else None,
            _state(post),
            post.published_at,
            post.views_count,
            post.likes_count,
            post.comments_count,
        ]
    )


def _state(post: PostSummary) -> Badge:
    return Badge(post.status, _TONES.get(post.status, "plain"))


def _author(author: AuthorName | None, viewer: Viewer) -> Value:
    if author is None:
        return None
    return user_link(author.id, author.full_name) if viewer.can(Permission.READ_USER) else author.full_name


async def _detail(desk: Desk) -> Page:
    post = await PostService.get_post_for_edit(desk.id(), viewer=desk.viewer)
    return Page(
        title=post.title,
        back=Link(_PATH, "Posts"),
        facts=[
            ("State", _state(post)),
            ("Author", _author(post.author, desk.viewer)),
            ("Slug", post.slug),
            ("Category", post.category.name if post.category else None),
            ("Tags", ", ".join(tag.name for tag in post.tags)),
            ("Published", post.published_at),
            ("Publishes itself", post.scheduled_at),
            ("Last edited", post.edited_at),
            ("Views", post.views_count),
            ("Likes", post.likes_count),
            ("Comments", post.comments_count),
            ("Excerpt", Text(post.excerpt) if post.excerpt else None),
            ("Text", Text(post.content)),
        ],
        actions=_actions(post),
    )


def _actions(post: PostEdit) -> list[Action]:
    here = f"{_PATH}/{post.id}"
    if post.status is PostStatus.TRASHED:
        return [Action(f"{here}/restore", "Restore as a draft")]
    return [
        Action(f"{here}/{name}", label, is_grave=status is PostStatus.TRASHED)
        for status, name, label in _STEPS
        if post.status in SOURCES[status]
    ]


async def _publish(desk: Desk, form: Form) -> None:
    await PublishingService.publish(desk.id(), viewer=desk.viewer)


async def _unpublish(desk: Desk, form: Form) -> None:
    await PublishingService.unpublish(desk.id(), viewer=desk.viewer)


async def _archive(desk: Desk, form: Form) -> None:
    await PublishingService.archive(desk.id(), viewer=desk.viewer)


async def _trash(desk: Desk, form: Form) -> None:
    await PublishingService.trash(desk.id(), viewer=desk.viewer)


async def _restore(desk: Desk, form: Form) -> None:
    await PublishingService.restore(desk.id(), viewer=desk.viewer)


POSTS = View(
    "posts",
    "Posts",
    "everybody's articles",
    Group.CONTENT,
    Permission.EDIT_ANY_POST,
    pages={"": _list, "/{id}": _detail},
    moves={
        "/{id}/publish": Move(_publish, _detail, "The post is public."),
        "/{id}/unpublish": Move(_unpublish, _detail, "The post is a draft again: its author and editors see it."),
        "/{id}/archive": Move(_archive, _detail, "The post is archived: kept, and no longer public."),
        "/{id}/trash": Move(_trash, _detail, "The post is in the trash for 30 days."),
        "/{id}/restore": Move(_restore, _detail, "The post is a draft again."),
    },
)
