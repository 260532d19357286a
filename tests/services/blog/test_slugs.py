import pytest
from beanie import PydanticObjectId

from models.blog.posts import PostSlug
from models.database import Session, run_transaction
from services.blog.slugs import MAX_SLUG, SlugTakenError, claim_slug, claim_slug_of_title

pytestmark = pytest.mark.usefixtures("database")


async def claim(slug: str, post_id: PydanticObjectId) -> None:
    async def work(session: Session) -> None:
        await claim_slug(slug, post_id, session=session)

    await run_transaction(work)


async def claim_of_title(title: str) -> str:
    async def work(session: Session) -> str:
        return await claim_slug_of_title(title, PydanticObjectId(), session=session)

    return await run_transaction(work)


class TestClaimSlug:
    async def test_owner_may_claim_again_and_nobody_else(self) -> None:
        owner = PydanticObjectId()
        await claim("mine-alone", owner)
        await claim("mine-alone", owner)
        with pytest.raises(SlugTakenError):
            await claim("mine-alone", PydanticObjectId())
        assert [row["post_id"] for row in await PostSlug.find_rows({})] == [owner]

    @pytest.mark.parametrize("slug", ["mine", "preview"])
    async def test_names_of_routes_are_taken(self, slug: str) -> None:
        with pytest.raises(SlugTakenError):
            await claim(slug, PydanticObjectId())


class TestClaimSlugOfTitle:
    async def test_second_and_third_are_numbered_and_the_rest_random(self) -> None:
        slugs = [await claim_of_title("Crème brûlée & C++") for _ in range(5)]
        assert slugs[:3] == ["creme-brulee-c-plus-plus", "creme-brulee-c-plus-plus-2", "creme-brulee-c-plus-plus-3"]
        assert len(set(slugs)) == 5
        assert all(slug.startswith("creme-brulee-c-plus-plus-") for slug in slugs[3:])

    async def test_names_of_routes_are_passed_over(self) -> None:
        assert [await claim_of_title("Mine"), await claim_of_title("Preview!")] == ["mine-2", "preview-2"]

    async def test_title_without_a_letter_still_gets_one(self) -> None:
        assert await claim_of_title("🎉🎉") == "post"

    async def test_longest_title_fits_with_its_suffix(self) -> None:
        slugs = [await claim_of_title("é" * 200) for _ in range(5)]
        assert len(set(slugs)) == 5
        assert max(map(len, slugs)) <= MAX_SLUG
