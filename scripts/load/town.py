"""What lies ready when `make stress` begins: the sample data, plenty of stock, and people who are signed in."""

from random import Random

from models.blog.posts import Post, PostStatus
from models.ecommerce.catalog import Product, ProductStatus
from models.ecommerce.coupons import Coupon
from models.ecommerce.orders import Order
from models.users import Role, User
from scripts.benchmark.shop import fill_up
from scripts.load.people import Town, Ware
from scripts.load.shoppers import make_person, open_session
from scripts.seed import seed
from scripts.simulation.habits import LATEST
from services.indexes import IndexService
from services.settings import Settings
from services.users.passwords import PasswordService

PASSWORD = "stressed but not depressed"
STAFF = 8  # of each kind
NO_CODE = "NOSUCHCODE"


async def settle_town(settings: Settings, *, scale: int, members: int) -> Town:
    """Fill the empty database that is bound, and say what is in it."""
    await IndexService.create_missing()
    await seed(scale=scale, settings=settings, progress=True)
    products = [Product.from_row(row) for row in await Product.find_rows({"status": ProductStatus.ACTIVE}, sort=[("_id", 1)])]
    await fill_up([one for one in products if not one.is_digital and one.variants[0].track_inventory])
    posts = await Post.find_rows(
        {"status": PostStatus.PUBLISHED}, {"slug": 1, "published_at": 1}, sort=[("published_at", -1)], limit=LATEST
    )
    hashed = await PasswordService.hash(PASSWORD, settings=settings)
    people = {
        role: [make_person(number, role, password_hash=hashed) for number in range(count)]
        for role, count in ((Role.USER, members), (Role.AUTHOR, STAFF), (Role.MANAGER, STAFF))
    }
    await User.collection().insert_many([person.row() for group in people.values() for person in group])
    tokens = {role: [await open_session(person, settings) for person in group] for role, group in people.items()}
    dice = Random("agora-stress:popularity")
    return Town(
        wares=[Ware(str(one.id), str(one.variants[0].id), one.slug, one.name.split()[-1], one.is_digital) for one in products],
        popularity=[1 / (1 + dice.randrange(len(products))) for _ in products],
        posts=[(str(row["_id"]), row["slug"]) for row in posts],
        codes=[*(row["code"] for row in await Coupon.find_rows({}, {"code": 1}, sort=[("_id", 1)])), NO_CODE],
        members=[(person.username, token) for person, token in zip(people[Role.USER], tokens[Role.USER], strict=True)],
        authors=tokens[Role.AUTHOR],
        managers=tokens[Role.MANAGER],
        password=PASSWORD,
    )


async def size_of_town() -> str:
    """What is stored, in a few words."""
    counted = {"people": User, "posts": Post, "products": Product, "orders": Order}
    return ", ".join([f"{await document.count_rows({}):,} {name}" for name, document in counted.items()])
