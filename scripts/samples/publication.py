"""The sample data: plain rows, the same for the same anchor, whoever makes them and however often.

It comes in units: sixty people and what they write, like and follow, and a shop with two hundred products, five hundred
customers and two thousand orders; a larger scale is more units. People of one unit keep to themselves, so that units can be
stored one after the other and every counter within one is known beforehand. Only categories and tags are shared: a unit says by
how much it moves theirs.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import lru_cache
from random import Random
from typing import Any

from beanie import PydanticObjectId

from models.blog.comments import Comment, CommentStatus
from models.blog.posts import Post, PostRevision, PostSlug, PostStatus, PostViews
from models.blog.taxonomy import Category, Tag
from models.social import Follow, Like, LikeKind
from models.users import Role, User
from scripts.samples import texts
from scripts.samples.orders import OrderMaker
from scripts.samples.shop import ShopMaker
from scripts.samples.unit import Unit, day_of, moment_between, sample_id
from scripts.samples.wishlists import fill_wishlists
from services.blog.writing import reading_minutes
from services.markdown import render_comment, render_post
from services.settings import Settings
from services.slugs import slug_of
from services.terms import post_terms
from services.users.passwords import UNUSABLE_HASH

PEOPLE = 60
AUTHORS = 10
POSTS = 150
COMMENTS = 1_000
COMMENT_LIKES = 300
SPAN = timedelta(days=395)  # thirteen months
MAX_REPLY_DEPTH = 3

_STATUSES = (PostStatus.PUBLISHED, PostStatus.DRAFT, PostStatus.SCHEDULED, PostStatus.ARCHIVED, PostStatus.TRASHED)
_COMMENT_STATUSES = (CommentStatus.APPROVED, CommentStatus.PENDING, CommentStatus.REJECTED, CommentStatus.SPAM)


@dataclass(frozen=True)
class DemoAccount:
    """Someone to sign in as; made in development only, with a password that everybody can read here."""

    username: str
    first_name: str
    last_name: str
    role: Role

    @property
    def email(self) -> str:
        return f"{self.username}@example.com"

    @property
    def password(self) -> str:
        return f"agora-demo-{self.username}"


DEMO_ACCOUNTS = (
    DemoAccount("admin", "Alex", "Admin", Role.ADMIN),
    DemoAccount("editor", "Erin", "Editor", Role.EDITOR),
    DemoAccount("johndoe", "John", "Doe", Role.AUTHOR),
    DemoAccount("janedoe", "Jane", "Doe", Role.AUTHOR),
    DemoAccount("reader", "Robin", "Reader", Role.USER),
    DemoAccount("manager", "Morgan", "Manager", Role.MANAGER),
    DemoAccount("vendor", "Val", "Vendor", Role.VENDOR),
)


def make_unit(number: int, anchor: datetime, *, hashes: Mapping[str, str], settings: Settings) -> Unit:
    """The unit of this number as it is at `anchor`, with `hashes` as the demo accounts' stored passwords."""
    return _Maker(number, anchor, hashes, settings).make()


class _Maker:
    """Draws everything from one generator, in a fixed order."""

    def __init__(self, number: int, anchor: datetime, hashes: Mapping[str, str], settings: Settings) -> None:
        self.number = number
        self.anchor = anchor
        self.start = anchor - SPAN
        self.hashes = hashes
        self.settings = settings
        self.chance = Random(f"agora-sample-{number}")
        self.unit = Unit(number)
        self.categories = {topic.category: sample_id("category", topic.category, self.start) for topic in texts.TOPICS}
        names = dict.fromkeys(name for topic in texts.TOPICS for name in topic.tags)
        self.tags = {name: sample_id("tag", name, self.start) for name in names}
        self.slugs: set[str] = set()
        self.popularity: dict[PydanticObjectId, float] = {}

    def make(self) -> Unit:
        people = self._people()
        if self.number == 0:
            self._taxonomy()
        posts = self._posts([user for user in people if user.role is Role.AUTHOR])
        published = [post for post in posts if post.status is PostStatus.PUBLISHED]
        for post in published:
            self._views(post)
        comments = self._comments(published, people)
        self._likes(published, comments, people)
        self._follows(people)
        for post in published:
            if post.category_id is not None:
                self.unit.moves[Category, "posts_count"][post.category_id] += 1
            self.unit.moves[Tag, "usage_count"].update(post.tag_ids)
        shop = ShopMaker(self.unit, people, self.anchor, self.start, self.settings)
        OrderMaker(self.unit, shop, shop.make(), self.settings).make()
        shop.finish()
        fill_wishlists(self.unit, shop.shop, self.anchor)
        return self.unit

    def _people(self) -> list[User]:
        people = []
        for position in range(PEOPLE):
            is_author = position < AUTHORS
            # Whoever writes was there from the start.
            joined = self.start if is_author else self._moment(self.start, self.anchor)
            demo = DEMO_ACCOUNTS[position] if self.number == 0 and position < len(DEMO_ACCOUNTS) else None
            if demo is not None:
                joined = self.start
                people.append(
                    self._person(position, joined, demo.username, demo.email, demo.first_name, demo.last_name, demo.role)
                )
                continue
            first, last = self.chance.choice(texts.FIRST_NAMES), self.chance.choice(texts.LAST_NAMES)
            username = f"{first}-{last}-{self.number * PEOPLE + position}".lower()
            role = Role.AUTHOR if is_author else Role.USER
            people.append(self._person(position, joined, username, f"{username}@example.org", first, last, role))
        self.unit.documents[User] = people
        return people

    def _person(self, position: int, joined: datetime, username: str, email: str, first: str, last: str, role: Role) -> User:
        return User(
            id=sample_id("user", self.number * PEOPLE + position, joined),
            created_at=joined,
            updated_at=joined,
            username=username,
            email=email,
            email_normalized=email,
            first_name=first,
            last_name=last,
            password_hash=self.hashes.get(username, UNUSABLE_HASH),
            role=role,
            is_verified=True,
            bio=f"Writes about {self.chance.choice(texts.TOPICS).category.lower()}." if role is Role.AUTHOR else "",
        )

    def _taxonomy(self) -> None:
        stamp = {"created_at": self.start, "updated_at": self.start}
        self.unit.documents[Category] = [
            Category(
                id=self.categories[topic.category],
                name=topic.category,
                slug=topic.slug,
                description=topic.description,
                color=topic.color,
                **stamp,
            )
            for topic in texts.TOPICS
        ]
        self.unit.documents[Tag] = [
            Tag(id=key, name=name, slug=slug_of(name, max_length=30), **stamp) for name, key in self.tags.items()
        ]

    # Posts

    def _posts(self, authors: Sequence[User]) -> list[Post]:
        posts = []
        by_name = {author.username: author for author in authors}
        if self.number == 0:
            for position, story in enumerate(texts.STORY):
                posts.append(
                    self._post(
                        position,
                        author=by_name[story.author],
                        category=story.category,
                        tags=story.tags,
                        title=story.title,
                        excerpt=story.excerpt,
                        content=story.content,
                        status=PostStatus.PUBLISHED,
                        published_at=self.anchor - timedelta(days=4 - position, hours=3),
                        popularity=1 - position / 10,
                    )
                )
        for position in range(len(posts), POSTS):
            topic = self.chance.choice(texts.TOPICS)
            subject = self.chance.choice(topic.subjects)
            status = self.chance.choices(_STATUSES, weights=(82, 10, 2, 4, 2))[0]
            posts.append(
                self._post(
                    position,
                    author=self.chance.choice(authors),
                    category=topic.category,
                    tags=self.chance.sample(topic.tags, self.chance.randint(1, 3)),
                    title=self.chance.choice(texts.TITLES).format(s=subject),
                    excerpt=self.chance.choice(texts.OPENINGS).format(s=subject),
                    content=self._content(topic, subject),
                    status=status,
                    published_at=self._moment(self.start + timedelta(days=1), self.anchor - timedelta(hours=2)),
                    popularity=0.05 + 0.95 * self.chance.random() ** 3,
                )
            )
        for post in posts:
            if post.status is PostStatus.PUBLISHED:
                next(author for author in authors if author.id == post.author_id).posts_count += 1
        self.unit.documents[Post] = posts
        return posts

    def _post(
        self,
        position: int,
        *,
        author: User,
        category: str,
        tags: Sequence[str],
        title: str,
        excerpt: str,
        content: str,
        status: PostStatus,
        published_at: datetime,
        popularity: float,
    ) -> Post:
        number = self.number * POSTS + position
        slug = slug_of(title, max_length=190)
        if self.number or slug in self.slugs:
            slug = f"{slug}-{number}"
        self.slugs.add(slug)
        created_at = published_at - timedelta(hours=1)
        was_public = status in (PostStatus.PUBLISHED, PostStatus.ARCHIVED)
        revisions = 2 if position % 4 == 3 else 1
        edited_at = published_at + timedelta(hours=1) if revisions > 1 else None
        post = Post(
            id=sample_id("post", number, created_at),
            created_at=created_at,
            updated_at=edited_at or published_at,
            title=title,
            slug=slug,
            content=content,
            content_html=render_post(content),
            excerpt=excerpt,
            author_id=author.id,
            category_id=self.categories[category],
            tag_ids=[self.tags[name] for name in tags],
            status=status,
            published_at=published_at if was_public else None,
            scheduled_at=self.anchor + timedelta(days=1 + position % 20) if status is PostStatus.SCHEDULED else None,
            trashed_at=self.anchor - timedelta(days=position % 20) if status is PostStatus.TRASHED else None,
            reading_minutes=reading_minutes(content),
            revision=revisions,
            edited_at=edited_at,
            terms=post_terms(title=title, excerpt=excerpt, content=content),
        )
        self.popularity[post.id] = popularity
        self.unit.documents[PostSlug].append(
            PostSlug(
                id=sample_id("slug", number, created_at), created_at=created_at, updated_at=created_at, slug=slug, post_id=post.id
            )
        )
        for revision in range(1, revisions + 1):
            written_at = created_at if revision == 1 else edited_at or created_at
            self.unit.documents[PostRevision].append(
                PostRevision(
                    id=sample_id("revision", f"{number}.{revision}", written_at),
                    created_at=written_at,
                    updated_at=written_at,
                    post_id=post.id,
                    number=revision,
                    editor_id=author.id,
                    title=title,
                    # The last version is the present one; before it, the last paragraph was missing.
                    content=content if revision == revisions else content.rstrip().rpartition("\n\n")[0] or content,
                    excerpt=excerpt,
                )
            )
        return post

    def _content(self, topic: texts.Topic, subject: str) -> str:
        parts = [self.chance.choice(texts.OPENINGS).format(s=subject)]
        for heading in self.chance.sample(texts.HEADINGS, self.chance.randint(2, 4)):
            parts.append(f"## {heading}")
            for _ in range(self.chance.randint(1, 2)):
                chosen = self.chance.sample(texts.SENTENCES, self.chance.randint(3, 6))
                other = self.chance.choice(topic.subjects)
                parts.append(" ".join(s.format(s=subject, t=other, n=self.chance.randint(2, 40)) for s in chosen))
        parts.append("\n".join(f"- {point}" for point in self.chance.sample(texts.POINTS, 3)))
        parts.append(f"More about **{subject}** next time.")
        return "\n\n".join(parts) + "\n"

    def _views(self, post: Post) -> None:
        """Most on the first days, few later, and some every day of the last fortnight."""
        assert post.published_at is not None
        first, today = day_of(post.published_at), day_of(self.anchor)
        age = (today - first).days
        days = {*range(min(age + 1, 12)), *range(max(0, age - 13), age + 1)}
        for offset in sorted(days):
            expected = 90 * self.popularity[post.id] / (1 + offset / 4) + 3 * self.popularity[post.id]
            views = int(expected * self.chance.uniform(0.4, 1.4))
            if not views:
                continue
            day = first + timedelta(days=offset)
            self.unit.documents[PostViews].append(
                PostViews(
                    id=sample_id("views", f"{post.id}:{offset}", day),
                    created_at=day,
                    updated_at=day,
                    post_id=post.id,
                    day=day,
                    views_count=views,
                )
            )
            post.views_count += views

    # People's doings

    def _comments(self, posts: Sequence[Post], people: Sequence[User]) -> list[Comment]:
        weights = [0.1 + self.popularity[post.id] for post in posts]
        counts = Counter(self.chance.choices(range(len(posts)), weights=weights, k=COMMENTS))
        comments: list[Comment] = []
        for position, post in enumerate(posts):
            assert post.published_at is not None
            moments = sorted(self._moment(post.published_at, self.anchor, early=True) for _ in range(counts[position]))
            under_post: list[Comment] = []
            for moment in moments:
                comment = self._comment(len(comments), post, moment, people, under_post)
                under_post.append(comment)
                comments.append(comment)
        self.unit.documents[Comment] = comments
        return comments

    def _comment(self, position: int, post: Post, moment: datetime, people: Sequence[User], before: Sequence[Comment]) -> Comment:
        answerable = [other for other in before if other.status is CommentStatus.APPROVED and other.depth < MAX_REPLY_DEPTH]
        parent = self.chance.choice(answerable) if answerable and self.chance.random() < 0.35 else None
        status = self.chance.choices(_COMMENT_STATUSES, weights=(88, 7, 2, 3))[0]
        content = self.chance.choice(texts.REPLIES if parent else texts.COMMENTS)
        present = [user for user in people if user.created_at <= moment]
        author: User | None = self.chance.choice(present)
        guest: dict[str, Any] = {}
        if status is CommentStatus.SPAM or self.chance.random() < 0.1:
            author = None
            name = self.chance.choice(texts.FIRST_NAMES)
            guest = {"author_name": name, "author_email": f"{name.lower()}@example.net", "address": "198.51.100.7"}
        if status is CommentStatus.SPAM:
            content = texts.SPAM
        comment = Comment(
            id=sample_id("comment", self.number * COMMENTS + position, moment),
            created_at=moment,
            updated_at=moment,
            post_id=post.id,
            parent_id=parent.id if parent else None,
            root_id=(parent.root_id or parent.id) if parent else None,
            ancestor_ids=[*parent.ancestor_ids, parent.id] if parent else [],
            depth=parent.depth + 1 if parent else 0,
            content=content,
            content_html=_rendered_comment(content),
            status=status,
            author_id=author.id if author else None,
            **guest,
        )
        if status is CommentStatus.APPROVED:
            post.comments_count += 1
            if parent is not None:
                parent.replies_count += 1
                for other in before:
                    if other.id in comment.ancestor_ids:
                        other.descendants_count += 1
        return comment

    def _likes(self, posts: Sequence[Post], comments: Sequence[Comment], people: Sequence[User]) -> None:
        for post in posts:
            assert post.published_at is not None
            fans = self.chance.sample(people, int(24 * self.popularity[post.id]) + self.chance.randint(0, 3))
            for fan in fans:
                self._like(LikeKind.POST, post, max(post.published_at, fan.created_at), fan)
        approved = [comment for comment in comments if comment.status is CommentStatus.APPROVED]
        pairs = {(self.chance.randrange(len(approved)), self.chance.randrange(len(people))) for _ in range(COMMENT_LIKES)}
        for liked, fan_number in sorted(pairs):
            fan = people[fan_number]
            self._like(LikeKind.COMMENT, approved[liked], max(approved[liked].created_at, fan.created_at), fan)

    def _like(self, kind: LikeKind, subject: Post | Comment, since: datetime, fan: User) -> None:
        moment = self._moment(since, self.anchor, early=True)
        like = Like(
            id=sample_id("like", f"{subject.id}:{fan.id}", moment),
            created_at=moment,
            updated_at=moment,
            kind=kind,
            subject_id=subject.id,
            user_id=fan.id,
        )
        self.unit.documents[Like].append(like)
        subject.likes_count += 1

    def _follows(self, people: Sequence[User]) -> None:
        authors = [user for user in people if user.role is Role.AUTHOR]
        for follower in people:
            wanted = [
                *self.chance.sample(authors, self.chance.randint(1, 4)),
                *self.chance.sample(people, self.chance.randint(0, 4)),
            ]
            for following in dict.fromkeys(user.id for user in wanted if user.id != follower.id):
                followed = next(user for user in people if user.id == following)
                moment = self._moment(max(follower.created_at, followed.created_at), self.anchor)
                self.unit.documents[Follow].append(
                    Follow(
                        id=sample_id("follow", f"{follower.id}:{following}", moment),
                        created_at=moment,
                        updated_at=moment,
                        follower_id=follower.id,
                        following_id=following,
                    )
                )
                follower.following_count += 1
                followed.followers_count += 1

    def _moment(self, since: datetime, until: datetime, *, early: bool = False) -> datetime:
        return moment_between(self.chance, since, until, early=early)


@lru_cache(maxsize=100)
def _rendered_comment(content: str) -> str:
    return render_comment(content)
