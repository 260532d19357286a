"""The sample shop's reviews, and who found them helpful."""

from datetime import datetime, timedelta
from random import Random
from typing import Any

from models.base import to_milliseconds
from models.ecommerce.orders import Order
from models.ecommerce.reviews import Review, ReviewStatus
from models.social import Like, LikeKind
from scripts.samples import goods
from scripts.samples.shop import Buyer, Key, Shop
from scripts.samples.unit import Unit, moment_between, sample_id
from services.markdown import render_comment


class ReviewMaker:
    def __init__(self, unit: Unit, shop: Shop, chance: Random, anchor: datetime) -> None:
        self.unit = unit
        self.shop = shop
        self.chance = chance
        self.anchor = anchor
        self.products = {product.id: product for product in shop.products}
        self.reviewed: set[tuple[Key, Key]] = set()
        self.reviews: list[Review] = []

    def write(self, order: Order, buyer: Buyer | None, arrived_at: datetime) -> None:
        """Some of what arrived is reviewed within a day; a product once by each customer."""
        moment = to_milliseconds(arrived_at + timedelta(hours=self.chance.uniform(1, 24)))
        if buyer is None or moment > self.anchor:
            return
        for line in order.lines:
            pair = (line.product_id, buyer.customer.id)
            if pair in self.reviewed or self.chance.random() > 0.3:
                continue
            self.reviewed.add(pair)
            rating = self.chance.choices(list(goods.RATINGS), list(goods.RATINGS.values()))[0]
            title, content = self.chance.choice(goods.REVIEWS[rating])
            status = self.chance.choices((ReviewStatus.APPROVED, ReviewStatus.PENDING, ReviewStatus.REJECTED), (90, 7, 3))[0]
            review = Review(
                id=sample_id("review", f"{pair[0]}:{pair[1]}", moment),
                product_id=line.product_id,
                customer_id=buyer.customer.id,
                author_id=buyer.user.id,
                order_id=order.id,
                rating=rating,
                title=title,
                content=content,
                content_html=render_comment(content),
                status=status,
                **_stamp(moment),
            )
            self.reviews.append(review)
            self.unit.documents[Review].append(review)
            if status is ReviewStatus.APPROVED:
                product = self.products[line.product_id]
                product.reviews_count += 1
                product.rating_total += rating
                product.rating_average = (20 * product.rating_total + product.reviews_count) // (2 * product.reviews_count)

    def vote(self) -> None:
        """Some of the public ones are found helpful."""
        for review in self.reviews:
            if review.status is not ReviewStatus.APPROVED:
                continue
            for voter in self.chance.sample(self.shop.buyers, self.chance.choice((0, 0, 0, 1, 2, 5))):
                since = max(review.created_at, voter.user.created_at)
                if voter.user.id == review.author_id:
                    continue
                moment = moment_between(self.chance, since, self.anchor, early=True)
                vote = Like(
                    id=sample_id("vote", f"{review.id}:{voter.user.id}", moment),
                    kind=LikeKind.REVIEW,
                    subject_id=review.id,
                    user_id=voter.user.id,
                    **_stamp(moment),
                )
                self.unit.documents[Like].append(vote)
                review.helpful_count += 1


def _stamp(moment: datetime) -> dict[str, Any]:
    return {"created_at": moment, "updated_at": moment}
