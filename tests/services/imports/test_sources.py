"""What is left out of a product, rather than refusing it."""

from services.imports.files import SourceRow
from services.imports.sources import Trouble, attributes_of, images_of, tags_of

ROW = SourceRow(7, ["x"])


def test_a_product_has_so_many_images() -> None:
    left_out: list[Trouble] = []

    images = images_of([(ROW, f"https://example.com/{at}.png", "a" * 300) for at in range(22)], left_out)

    assert (len(images), len(images[0]["alt"])) == (20, 200)
    assert [trouble.reason for trouble in left_out] == [
        f"the image https://example.com/{at}.png is one too many: a product has 20" for at in (20, 21)
    ]


def test_a_product_has_so_many_tags_of_such_a_length() -> None:
    left_out: list[Trouble] = []

    tags = tags_of([*(f"Tag {at}" for at in range(21)), "TAG 1", "x" * 51], ROW, left_out)

    assert tags == [f"tag {at}" for at in range(20)]
    assert [(trouble.row.line, trouble.reason) for trouble in left_out] == [
        (7, f"these tags are too many or too long: {'x' * 51}, tag 20")
    ]


def test_attributes_have_codes_and_an_end() -> None:
    left_out: list[Trouble] = []
    values = {"Brand": ["Mill"], "!!!": ["x"], "Empty": [], "Size": [str(at) for at in range(60)]}

    drafts, names = attributes_of(values, ROW, left_out)

    assert (len(drafts), names) == (50, {"product-brand": "Brand", "size": "Size"})
    assert [trouble.reason for trouble in left_out] == [
        "no code can be made of the attribute !!!",
        "only 50 values of attributes are kept",
    ]
