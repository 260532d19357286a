import pytest
from beanie import PydanticObjectId

from models.ecommerce.catalog import AttributeDefinition, AttributeKind, AttributeValue
from models.users import Role
from services.ecommerce.catalog.attributes import (
    AttributeChanges,
    AttributeDraft,
    AttributeInUseError,
    AttributeNotFoundError,
    AttributeService,
    AttributeTakenError,
    InvalidAttributeDefinitionError,
)
from services.errors import PermissionDeniedError, PreconditionError
from services.users.permissions import Viewer
from tests.factories.catalog import create_attribute, create_product
from tests.factories.users import create_user, viewer_of

pytestmark = pytest.mark.usefixtures("database")


async def staff() -> Viewer:
    return viewer_of(await create_user(role=Role.MANAGER))


class TestCreateAttribute:
    async def test_is_listed_in_its_order(self) -> None:
        viewer = await staff()
        for code, order in (("weight", 2), ("color", 1)):
            draft = AttributeDraft(code=code, name=code.title(), kind=AttributeKind.TEXT, sort_order=order)
            await AttributeService.create_attribute(draft, viewer=viewer)
        assert [found.code for found in await AttributeService.list_attributes()] == ["color", "weight"]

    @pytest.mark.parametrize("code", ["color", "brand", "price"])
    async def test_taken_and_reserved_codes_are_refused(self, code: str) -> None:
        await create_attribute(code="color")
        draft = AttributeDraft(code=code, name="X", kind=AttributeKind.TEXT)
        with pytest.raises(AttributeTakenError):
            await AttributeService.create_attribute(draft, viewer=await staff())
        assert await AttributeDefinition.count_rows({}) == 1

    @pytest.mark.parametrize(
        ("kind", "choices"), [(AttributeKind.CHOICE, []), (AttributeKind.TEXT, ["a"]), (AttributeKind.CHOICE, ["a", "A"])]
    )
    async def test_choices_belong_to_a_choice_and_differ(self, kind: AttributeKind, choices: list[str]) -> None:
        draft = AttributeDraft(code="x", name="X", kind=kind, choices=choices)
        with pytest.raises(InvalidAttributeDefinitionError):
            await AttributeService.create_attribute(draft, viewer=await staff())

    async def test_sellers_may_not(self) -> None:
        with pytest.raises(PermissionDeniedError):
            await AttributeService.create_attribute(
                AttributeDraft(code="x", name="X", kind=AttributeKind.TEXT),
                viewer=viewer_of(await create_user(role=Role.VENDOR)),
            )


class TestUpdateAttribute:
    async def test_choice_in_use_stays(self) -> None:
        viewer = await staff()
        attribute = await create_attribute(code="color", choices=["Red", "Blue"])
        await create_product(attributes=[AttributeValue(code="color", value="Red")])
        with pytest.raises(AttributeInUseError):
            await AttributeService.update_attribute(attribute.id, AttributeChanges(choices=["Blue"]), viewer=viewer, revision=1)
        changed = await AttributeService.update_attribute(
            attribute.id, AttributeChanges(choices=["red", "Green"]), viewer=viewer, revision=1
        )
        assert (changed.choices, changed.revision) == (["red", "Green"], 2)

    async def test_stale_revision_and_unknown_id_are_refused(self) -> None:
        viewer = await staff()
        attribute = await create_attribute()
        with pytest.raises(PreconditionError):
            await AttributeService.update_attribute(attribute.id, AttributeChanges(name="X"), viewer=viewer, revision=2)
        with pytest.raises(AttributeNotFoundError):
            await AttributeService.update_attribute(PydanticObjectId(), AttributeChanges(name="X"), viewer=viewer, revision=1)


class TestDeleteAttribute:
    async def test_goes_when_no_product_has_it(self) -> None:
        viewer = await staff()
        attribute = await create_attribute(code="color")
        product = await create_product(attributes=[AttributeValue(code="color", value="red")])
        with pytest.raises(AttributeInUseError):
            await AttributeService.delete_attribute(attribute.id, viewer=viewer)
        await type(product).collection().delete_one({"_id": product.id})
        await AttributeService.delete_attribute(attribute.id, viewer=viewer)
        assert await AttributeService.list_attributes() == []
