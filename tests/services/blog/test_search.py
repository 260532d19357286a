"""Search: what it finds, in which order, and what it never does."""

import random
from datetime import timedelta

import pytest

from models.blog.posts import Post, PostStatus
from models.database import Database
from models.users import User
from services.blog.search import PostSearchService
from services.pagination import PageRequest
from services.search import MAX_QUERY_TERMS, query_terms
from tests.commands import CommandLog
from tests.factories.blog import EPOCH, create_post, make_post
from tests.factories.users import create_user

FIRST = PageRequest(page=1, limit=10)
PUBLISHED = PostStatus.PUBLISHED


@pytest.fixture
async def author(database: Database) -> User:
    return await create_user()


async def found(query: str, page: PageRequest = FIRST) -> list[str]:
    return [post.title for post in (await PostSearchService.search_posts(query, page=page)).items]


class TestSearchPosts:
    async def test_blg_s12_title_beats_excerpt_beats_content(self, author: User) -> None:
        await create_post(author=author, status=PUBLISHED, title="Gardens", content="A rose is a rose")  # 2
        await create_post(author=author, status=PUBLISHED, title="Flowers", excerpt="On roses", content="Red")  # 3
        await create_post(author=author, status=PUBLISHED, title="Rose", content="Red")  # 8
        await create_post(author=author, status=PUBLISHED, title="Tulips", content="Red")

        page = await PostSearchService.search_posts("ROSES!", page=FIRST)

        assert [post.title for post in page.items] == ["Rose", "Flowers", "Gardens"]
        assert (page.total_count, page.total_pages, page.page, page.limit) == (3, 1, 1, 10)
        assert page.items[0].author is not None
        assert page.items[0].author.id == author.id

    async def test_blg_s12_only_published_posts_are_found(self, author: User) -> None:
        for status in PostStatus:
            await create_post(author=author, status=status, title=f"Rose {status}")

        assert await found("rose") == ["Rose published"]

    async def test_every_word_must_be_there(self, author: User) -> None:
        await create_post(author=author, status=PUBLISHED, title="Red rose")
        await create_post(author=author, status=PUBLISHED, title="White rose", content="Not red at all, said the queen")
        await create_post(author=author, status=PUBLISHED, title="Red tulip")

        assert await found("red rose") == ["Red rose", "White rose"]
        assert await found("rose of the queens in red") == ["White rose"]
        assert await found("red rose unheard") == []

    async def test_ties_newest_first_then_by_id(self, author: User) -> None:
        same = EPOCH + timedelta(days=3)
        older = await create_post(author=author, status=PUBLISHED, title="Rose", published_at=EPOCH)
        one = await create_post(author=author, status=PUBLISHED, title="Rose", published_at=same)
        two = await create_post(author=author, status=PUBLISHED, title="Rose", published_at=same)

        page = await PostSearchService.search_posts("rose", page=FIRST)

        assert [post.id for post in page.items] == [two.id, one.id, older.id]

    async def test_pages_do_not_overlap_and_count_everything(self, author: User) -> None:
        for number in range(5):
            await create_post(author=author, status=PUBLISHED, title=f"Rose {number}x")

        assert await found("rose", PageRequest(page=2, limit=2)) == ["Rose 2x", "Rose 1x"]
        beyond = await PostSearchService.search_posts("rose", page=PageRequest(page=4, limit=2))
        assert (beyond.items, beyond.total_count, beyond.total_pages) == ([], 5, 3)

    async def test_n_11_a_page_holds_fifty_at_most(self, author: User) -> None:
        page = await PostSearchService.search_posts("rose", page=PageRequest(page=1, limit=100))

        assert page.limit == 50

    @pytest.mark.parametrize("query", ["", "   ", "to be or not to be", "a", "?!", "🙂", "\x00"])
    async def test_a_query_without_words_finds_nothing(self, author: User, commands: CommandLog, query: str) -> None:
        await create_post(author=author, status=PUBLISHED, title="To be")

        with commands.counting() as sent:
            page = await PostSearchService.search_posts(query, page=FIRST)

        assert (page.items, page.total_count, page.total_pages) == ([], 0, 0)
        assert len(sent) == 0

    @pytest.mark.parametrize("query", [".*", "ros.", "(ro|x)se$", "$ne", "^rose", "rose.*tulip", '{"$gt": ""}', "\\", "r" * 5000])
    async def test_blg_s12_patterns_are_plain_words(self, author: User, query: str) -> None:
        await create_post(author=author, status=PUBLISHED, title="Tulip")
        await create_post(author=author, status=PUBLISHED, title="Rose")

        assert await found(query) == (["Rose"] if query == "^rose" else [])

    async def test_accents_and_case_do_not_matter(self, author: User) -> None:
        await create_post(author=author, status=PUBLISHED, title="Crème brûlée")

        assert await found("CREME brulee") == ["Crème brûlée"]

    async def test_a_query_costs_two_commands_and_more_only_for_unknown_words(self, author: User, commands: CommandLog) -> None:
        await create_post(author=author, status=PUBLISHED, title="Red rose")

        with commands.counting() as one_word:
            await found("rose")
        with commands.counting() as two_words:
            await found("red rose")
        with commands.counting() as again:
            await found("rose red")

        assert one_word.sent == ["aggregate posts", "aggregate users"]
        assert sorted(two_words.sent) == ["aggregate posts", "count posts", "count posts"]
        assert again.sent == ["aggregate posts"]

    async def test_a_post_published_after_its_word_was_counted_as_unknown_is_found(self, author: User) -> None:
        assert await found("red rose") == []

        await create_post(author=author, status=PUBLISHED, title="Red rose")

        assert await found("red rose") == ["Red rose"]


class TestSearchAgainstPlainPython:
    @pytest.mark.parametrize("seed", range(3))
    async def test_random_posts_and_queries_agree_with_the_reference(self, database: Database, author: User, seed: int) -> None:
        chance = random.Random(seed)
        vocabulary = ["rose", "tulip", "oak", "fern", "moss", "reed", "ivy", "elm"]
        posts = [
            make_post(
                title=" ".join(chance.choices(vocabulary, k=2)),
                excerpt=" ".join(chance.choices(vocabulary, k=chance.randint(0, 2))),
                content=" ".join(chance.choices(vocabulary, k=chance.randint(1, 6))),
                status=chance.choice([PUBLISHED, PUBLISHED, PUBLISHED, PostStatus.DRAFT, PostStatus.ARCHIVED]),
                published_at=EPOCH + timedelta(days=chance.randint(0, 5)),
                author_id=author.id,
            )
            for _ in range(120)
        ]
        await Post.collection().insert_many([post.row() for post in posts])

        for _ in range(25):
            asked = chance.sample(vocabulary, k=chance.randint(1, 4))
            request = PageRequest(page=chance.randint(1, 3), limit=chance.randint(1, 20))

            page = await PostSearchService.search_posts(" ".join(asked), page=request)

            expected = _reference(posts, asked)
            assert [post.id for post in page.items] == expected[request.skip : request.skip + request.limit]
            assert page.total_count == len(expected)


def _reference(posts: list[Post], asked: list[str]) -> list[object]:
    """Counts words in the texts themselves."""
    hits = []
    for post in posts:
        counts = [
            8 * post.title.split().count(word) + 3 * post.excerpt.split().count(word) + post.content.split().count(word)
            for word in asked
        ]
        if post.status is PUBLISHED and all(counts):
            hits.append((sum(counts), post.published_at, post.id))
    return [post_id for _, _, post_id in sorted(hits, reverse=True)]


class TestQueryTerms:
    def test_distinct_in_order_and_bounded(self) -> None:
        assert query_terms("roses rose the tulip") == ["rose", "tulip"]
        assert query_terms(" ".join(f"w{number}" for number in range(20))) == [f"w{number}" for number in range(MAX_QUERY_TERMS)]
