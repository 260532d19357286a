"""Reviews of products: judged as they were read."""

from models.audit import AuditEntry
from models.ecommerce.catalog import Product
from models.ecommerce.reviews import Review, ReviewStatus
from tests.api.web.admin.conftest import Clerk
from tests.factories.catalog import create_product
from tests.factories.reviews import create_review

QUEUE = "/admin/reviews"


async def test_approved_it_counts_and_rejected_it_does_not(editor: Clerk) -> None:
    product = await create_product()
    review = await create_review(product, approved=False, rating=4)
    page = await editor.page(QUEUE)
    assert "Washed <em>ten</em> times." in page
    assert f"/admin/products/{product.id}" not in page  # editors keep no products

    answer = await editor.send(f"{QUEUE}/{review.id}/approve", revision=review.revision)

    assert (answer.status_code, answer.headers["location"]) == (303, f"{QUEUE}?done=approve")
    await editor.send(f"{QUEUE}/{review.id}/reject", revision=review.revision)
    row, rated = await Review.find_row({"_id": review.id}), await Product.find_row({"_id": product.id})
    assert row is not None
    assert rated is not None
    assert (row["status"], rated["reviews_count"]) == (ReviewStatus.REJECTED, 0)
    noted = await AuditEntry.find_rows({"subject": f"review:{review.id}"}, sort=[("_id", 1)])
    assert [(entry["action"], entry["actor_id"]) for entry in noted] == [
        ("review.approved", editor.user.id),
        ("review.rejected", editor.user.id),
    ]


async def test_what_was_edited_meanwhile_is_shown_and_not_judged(editor: Clerk) -> None:
    review = await create_review(await create_product(), approved=False)
    change = {"$set": {"content_html": "<p>Now with an insult</p>"}, "$inc": {"revision": 1}}
    await Review.change({"_id": review.id}, change)

    answer = await editor.send(f"{QUEUE}/{review.id}/approve", revision=review.revision)

    assert answer.status_code == 412
    assert "It has changed since you read it" in answer.text
    assert "Now with an insult" in answer.text
    row = await Review.find_row({"_id": review.id})
    assert row is not None
    assert row["status"] == ReviewStatus.PENDING
