"""The simulated publication: who writes in it, and what its readers do with what they read."""

from datetime import timedelta
from random import Random

from beanie import PydanticObjectId

from models.analytics.events import VisitKind
from models.blog.posts import PostStatus
from models.social import LikeKind
from scripts.samples import texts
from scripts.simulation import habits
from scripts.simulation.tabs import Tab
from scripts.simulation.world import Journey, Person, World
from services.blog.categories import CategoryService
from services.blog.comments import CommentService, Guest
from services.blog.pages import PostPage
from services.blog.posts import PostService
from services.blog.search import PostSearchService
from services.blog.writing import PostDraft
from services.errors import AppError
from services.pagination import PageRequest
from services.social import FollowService, LikeService
from services.users.sessions import ClientInfo

POSTS_A_WEEK = 6  # by all authors together, for each unit of scale


async def authors(world: World) -> Journey:
    """Now and then somebody publishes something, or has it publish itself the next morning."""
    categories = {category.name: category.id for category in await CategoryService.get_categories_with_post_counts()}
    names = sorted(name for name in world.staff if name.startswith("author"))
    number = 0
    while True:
        dice = world.dice("post", number)
        yield timedelta(days=dice.expovariate(POSTS_A_WEEK * world.scale / 7))
        topic = dice.choice(texts.TOPICS)
        subject = dice.choice(topic.subjects)
        is_later = dice.random() < 0.25
        draft = PostDraft(
            title=f"{dice.choice(texts.TITLES).format(s=subject)}, part {number + 1}",
            content=_content(topic, subject, dice),
            excerpt=dice.choice(texts.OPENINGS).format(s=subject),
            category_id=categories[topic.category],
            tag_names=dice.sample(topic.tags, 2),
            status=PostStatus.SCHEDULED if is_later else PostStatus.PUBLISHED,
            scheduled_at=world.now() + timedelta(hours=dice.uniform(2, 20)) if is_later else None,
        )
        author = world.staff[dice.choice(names)]
        post = await PostService.create_post(draft, viewer=author)
        if not is_later:
            world.posts.append((post.id, post.slug))
        else:
            world.begin(_appears(world, post.id, post.slug), at=draft.scheduled_at, closes=False)
        number += 1


async def _appears(world: World, post_id: PydanticObjectId, slug: str) -> Journey:
    yield timedelta(minutes=61)
    world.posts.append((post_id, slug))  # the job has published it


def _content(topic: texts.Topic, subject: str, dice: Random) -> str:
    parts = [dice.choice(texts.OPENINGS).format(s=subject)]
    for heading in dice.sample(texts.HEADINGS, 2):
        chosen = dice.sample(texts.SENTENCES, 4)
        parts += [f"## {heading}", " ".join(s.format(s=subject, t=dice.choice(topic.subjects), n=12) for s in chosen)]
    return "\n\n".join(parts)


async def read_something(world: World, person: Person, tab: Tab, dice: Random) -> Journey:
    """Read one of the latest posts, and say or show what one thinks of it."""
    if dice.random() < habits.SEARCH_POSTS:
        words = dice.choice(dice.choice(texts.TOPICS).subjects)
        await PostSearchService.search_posts(words, page=PageRequest())
        tab.open("/blog/search")
        tab.note(VisitKind.SEARCH, term=words)
        world.tally["searches of posts"] += 1
    if not world.posts:
        return
    post_id, slug = dice.choice(world.posts[-habits.LATEST :])
    visit = tab.look(world.post_views, VisitKind.POST_VIEW)
    page = await PostService.get_post_by_slug(slug, viewer=person.viewer, visit=visit)
    tab.open(f"/blog/{slug}")
    yield timedelta(seconds=dice.uniform(20, 300))
    try:
        if dice.random() < habits.COMMENT:
            await _comment(world, person, post_id, dice)
        if person.viewer is not None and dice.random() < habits.LIKE:
            await LikeService.like(post_id, kind=LikeKind.POST, viewer=person.viewer)
        if (
            person.viewer is not None
            and dice.random() < habits.FOLLOW
            and isinstance(page, PostPage)
            and page.post.author is not None
        ):
            await FollowService.follow(page.post.author.username, viewer=person.viewer)
    except AppError as error:
        world.tally[f"readers refused: {error.code}"] += 1


async def _comment(world: World, person: Person, post_id: PydanticObjectId, dice: Random) -> None:
    is_spam = person.viewer is None and dice.random() < 0.2
    await CommentService.add_comment(
        post_id,
        content=texts.SPAM if is_spam else dice.choice(texts.COMMENTS),
        viewer=person.viewer,
        settings=world.settings,
        guest=None if person.viewer else Guest(person.first_name, person.email),
        client=ClientInfo(person.network, person.agent),
    )
