"""What a request's JSON is read as: numbers are numbers, truth values truth values, text everything else."""

from datetime import UTC, datetime
from enum import StrEnum
from typing import Annotated, Any

import pytest
from beanie import PydanticObjectId
from pydantic import Field, TypeAdapter, ValidationError, model_validator

from services.inputs import InputPart


class Colour(StrEnum):
    RED = "red"


class Box(InputPart):
    pieces: Annotated[int, Field(ge=1)]
    is_open: bool = False


class Parcel(InputPart):
    boxes: list[Box] = []
    counts: dict[str, int] = {}
    weight: int | None = None
    label: int | str = ""
    is_sent: bool | None = None
    sent_at: datetime | None = None
    owner_id: PydanticObjectId | None = None
    colour: Colour | None = None

    @model_validator(mode="after")
    def _fine(self) -> "Parcel":
        return self


def codes(value: Any) -> list[tuple[str, str]]:
    with pytest.raises(ValidationError) as caught:
        TypeAdapter(Parcel).validate_python(value)
    return [(".".join(map(str, error["loc"])), error["type"]) for error in caught.value.errors()]


class TestInputPart:
    @pytest.mark.parametrize("wrong", [True, False, "1", "", "x"])
    def test_text_and_truth_values_are_no_numbers(self, wrong: object) -> None:
        assert codes({"weight": wrong}) == [("weight", "int_type")]
        assert codes({"counts": {"a": 1, "b": wrong}}) == [("counts.b", "int_type")]
        assert codes({"boxes": [{"pieces": 1}, {"pieces": wrong}]}) == [("boxes.1.pieces", "int_type")]

    @pytest.mark.parametrize("wrong", [1, 0, 1.0, "true", "yes"])
    def test_numbers_and_text_are_no_truth_values(self, wrong: object) -> None:
        assert codes({"is_sent": wrong}) == [("is_sent", "bool_type")]
        assert codes({"boxes": [{"pieces": 1, "is_open": wrong}]}) == [("boxes.0.is_open", "bool_type")]

    def test_everything_else_is_as_ever(self) -> None:
        given = {
            "boxes": [{"pieces": 2.0, "is_open": True}],
            "weight": None,
            "label": "1",
            "sent_at": "2026-11-01T00:00:00Z",
            "owner_id": "65f0c0ffee0ddba11ca7f00d",
            "colour": "red",
        }

        assert Parcel.model_validate(given) == Parcel(
            boxes=[Box(pieces=2, is_open=True)],
            label="1",
            sent_at=datetime(2026, 11, 1, tzinfo=UTC),
            owner_id=PydanticObjectId("65f0c0ffee0ddba11ca7f00d"),
            colour=Colour.RED,
        )
        assert codes({"boxes": [{"pieces": 0}]}) == [("boxes.0.pieces", "greater_than_equal")]
        assert codes({"other": 1}) == [("other", "extra_forbidden")]

    def test_schema_shows_no_sign_of_it(self) -> None:
        schema = Parcel.model_json_schema()

        assert schema["properties"]["weight"]["anyOf"] == [{"type": "integer"}, {"type": "null"}]
        assert schema["$defs"]["Box"]["properties"]["pieces"] == {"minimum": 1, "title": "Pieces", "type": "integer"}
