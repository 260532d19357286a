"""What `make fuzz` shoots at: the real application on loopback, full of sample data, with secrets planted and its logs kept."""

import asyncio
import contextlib
import logging
import secrets
import socket
import threading
from collections.abc import Coroutine, Iterator
from dataclasses import dataclass
from typing import Any, TypeVar

import structlog
import uvicorn
from beanie import PydanticObjectId
from schemathesis.openapi import from_dict
from schemathesis.specs.openapi.schemas import OpenApiSchema

from api.app import create_app
from models.base import AgoraDocument, now
from models.blog.comments import Comment, CommentBan, CommentStatus
from models.blog.posts import Post, PostStatus
from models.blog.taxonomy import Category, Tag
from models.database import Database, Session, run_transaction
from models.users import Role, TokenPurpose, User
from scripts.database.connection import connected
from scripts.fuzzing.fresh import wish_for_account
from scripts.fuzzing.shop import beside_a_sandbox, plant_in_shop, shop_things
from scripts.seed import seed
from services.indexes import IndexService
from services.settings import Settings
from services.users.credentials import PasswordResetService, issue_token
from services.users.passwords import PasswordService
from services.users.sessions import ClientInfo, NewSession, SessionService, hash_token
from services.users.tokens import device_token, mail_token, new_device_id

T = TypeVar("T")
D = TypeVar("D", bound=AgoraDocument)

CLIENT = ClientInfo("203.0.113.9", "fuzz")
PASSWORD = "correct horse battery staple"  # of everyone signed in here
GENEROUS = 10_000_000
_LIMITS = (
    "anonymous_requests",
    "user_requests",
    "login_attempts",
    "account_login_attempts",
    "register_attempts",
    "reset_attempts",
    "password_checks",
    "lock_after_failures",
)


def generous(settings: Settings) -> Settings:
    """These settings without limits that a fuzzer would only run into, and with the cheapest password hashing."""
    cheap = {"password_hash_time_cost": 1, "password_hash_memory_kib": 8, "worker_in_process": False}
    return settings.model_copy(update={**dict.fromkeys(_LIMITS, GENEROUS), **cheap})


@dataclass(frozen=True, slots=True)
class Canary:
    """A secret that must never be seen; `operations` names those whose answer to staff may hold it all the same."""

    name: str
    value: bytes
    operations: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Person:
    """Someone signed in."""

    id: PydanticObjectId
    username: str
    token: str
    session_id: PydanticObjectId


@dataclass(frozen=True, slots=True)
class Known:
    """What there is in the database, as values for parameters and fields of these names."""

    values: dict[str, list[str]]
    victim: dict[str, list[str]]


@dataclass
class Target:
    """The application being served. `do` runs a coroutine on its event loop, where the documents are bound."""

    url: str
    schema: OpenApiSchema
    settings: Settings
    known: Known
    canaries: list[Canary]
    lines: list[str]
    loop: asyncio.AbstractEventLoop
    database: Database
    password_hash: str

    def do(self, work: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(work, self.loop).result(60)

    def person(self, role: Role) -> Person:
        """A new person of this role, signed in."""
        return self.do(sign_in_new(role, password_hash=self.password_hash, settings=self.settings))

    def look_again(self) -> None:
        """Learn anew what there is: much of it was changed or deleted by what was tried."""
        self.known.values.clear()
        self.known.values.update(self.do(things_there_are()))


class _ThreadedServer(uvicorn.Server):
    """Leaves signals to the main thread, and says when it listens."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.listening = asyncio.Event()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self.listening.set()

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


@contextlib.contextmanager
def serving(settings: Settings) -> Iterator[Target]:
    """Serve a seeded Agora from a thread of its own until the block ends. Its database must be empty at first."""
    ready: threading.Event = threading.Event()
    box: list[Target] = []
    failures: list[BaseException] = []
    stop: list[uvicorn.Server] = []

    async def life(settings: Settings) -> None:
        async with connected(settings) as database:
            await IndexService.create_missing()
            await seed(settings=settings, progress=False)
            canaries, known = await plant(settings)
            app = create_app(settings, database=database)
            config = uvicorn.Config(app, port=0, log_config=None, lifespan="on", timeout_graceful_shutdown=2)
            server = _ThreadedServer(config)
            stop.append(server)
            task = asyncio.create_task(server.serve())
            await server.listening.wait()
            port = server.servers[0].sockets[0].getsockname()[1]
            url = f"http://127.0.0.1:{port}"
            schema = from_dict(app.openapi())
            loop = asyncio.get_running_loop()
            hashed = await PasswordService.hash(PASSWORD, settings=settings)
            box.append(Target(url, schema, settings, known, canaries, lines, loop, database, hashed))
            ready.set()
            await task

    def run() -> None:
        try:
            with beside_a_sandbox(settings) as complete:
                asyncio.run(life(complete))
        except BaseException as error:  # told to the thread that waits
            failures.append(error)
        finally:
            ready.set()

    with kept_logs() as lines:
        thread = threading.Thread(target=run, name="agora")
        thread.start()
        try:
            ready.wait()
            if failures:
                raise failures[0]
            yield box[0]
        finally:
            for server in stop:
                server.should_exit = True
            thread.join()


@contextlib.contextmanager
def kept_logs() -> Iterator[list[str]]:
    """Every line that Agora, uvicorn and the libraries log meanwhile, tracebacks included; nothing is printed."""
    lines: list[str] = []
    before = structlog.get_config()

    class Keeper(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            lines.append(self.format(record))

    def keep(_logger: Any, _method: str, event: structlog.types.EventDict) -> str:
        lines.append(repr(event))
        raise structlog.DropEvent

    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.format_exc_info,
            keep,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.DEBUG),
        cache_logger_on_first_use=False,
    )
    keeper = Keeper()
    logging.getLogger().addHandler(keeper)
    try:
        yield lines
    finally:
        logging.getLogger().removeHandler(keeper)
        structlog.configure(**before)


async def sign_in_new(role: Role, *, password_hash: str, settings: Settings) -> Person:
    name = f"fuzz-{secrets.token_hex(6)}"
    user = await User(
        username=name,
        email=f"{name}@example.com",
        email_normalized=f"{name}@example.com",
        first_name="Fuzz",
        last_name="Person",
        password_hash=password_hash,
        role=role,
        is_verified=True,
    ).store()
    opened = await _open(user, settings=settings)
    return Person(user.id, name, opened.token, opened.session.id)


async def _open(user: User, *, settings: Settings) -> NewSession:
    async def work(session: Session) -> NewSession:
        return await SessionService.create(session, user, device_id=new_device_id(), client=CLIENT, settings=settings, now=now())

    return await run_transaction(work)


# Secrets

# Whoever may READ_USER sees the address of an account where the account itself is the answer, and nowhere else.
_ACCOUNT_ANSWERS = frozenset(
    {
        *("list_users", "get_user", "update_user", "change_user_role", "lock_user", "unlock_user"),
        *("list_customers", "get_customer"),
    }
)
# Moderators see the address that a guest left with a comment.
_MODERATION_ANSWERS = frozenset({"list_comment_queue", "approve_comment", "reject_comment", "mark_comment_spam"})


async def plant(settings: Settings) -> tuple[list[Canary], Known]:
    """Give an author of the sample data, and a guest, secrets that are recognised anywhere; returns them, and what there is."""
    post = await _first(Post, {"status": PostStatus.PUBLISHED})
    mark = secrets.token_hex(8)
    address, waiting, next_address, guest = (f"canary{number}{mark}" for number in range(4))
    hashed = await PasswordService.hash(f"password-{mark}", settings=settings)
    pending_hash = await PasswordService.hash(f"pending-{mark}", settings=settings)
    email = f"{address}@example.com"
    victim = await User.change(
        {"_id": post.author_id}, {"$set": {"email": email, "email_normalized": email, "password_hash": hashed}}
    )
    assert victim is not None
    opened = await _open(victim, settings=settings)
    later = now().replace(year=now().year + 1)

    async def mail(session: Session) -> list[str]:
        tokens = []
        for purpose in TokenPurpose:
            row = await issue_token(
                session, victim.id, purpose, expires_at=later, settings=settings, new_email=f"{next_address}@example.com"
            )
            tokens.append(mail_token(purpose, row.id, settings=settings))
        return tokens

    mailed = await run_transaction(mail)
    await PasswordResetService.request(email, client=CLIENT, settings=settings)  # the outbox holds the address too
    wish_token = await wish_for_account(f"wish-{mark}", f"{waiting}@example.com", password_hash=pending_hash, settings=settings)
    for status in (CommentStatus.APPROVED, CommentStatus.PENDING):
        comment = await _first(Comment, {"status": status})
        change = {"author_id": None, "author_name": "A guest", "author_email": f"{guest}@example.com"}
        await Comment.collection().update_one({"_id": comment.id}, {"$set": change})
    hidden = {
        "password hash": hashed,
        "digest of the password hash": hashed.rpartition("$")[2],
        "password": f"password-{mark}",
        "password hash of a registration": pending_hash,
        "session token": opened.token,
        "hash of a session token": hash_token(opened.token),
        "device token": device_token(victim.id, opened.session.device_id, settings=settings),
        "secret key": settings.secret_key.get_secret_value(),
        "mailed token for a registration": wish_token,
        "hash of a mailed token": hash_token(mailed[0]),
        **{f"mailed token {number}": token for number, token in enumerate(mailed)},
        # Only the first halves of addresses: the sign between them may be written in many ways.
        "address of a registration": waiting,
        "address that an account is about to take": next_address,
    }
    canaries = [Canary(name, value.encode()) for name, value in hidden.items()]
    canaries.append(Canary("address of an account", address.encode(), _ACCOUNT_ANSWERS))
    canaries.append(Canary("address of a guest", guest.encode(), _MODERATION_ANSWERS))
    of_shop, theirs = await plant_in_shop(victim, settings=settings)
    canaries += [Canary(name, value.encode(), operations) for name, value, operations in of_shop]
    known = await _known(victim, post)
    return canaries, Known(known.values, {**known.victim, **theirs})


async def _first(document: type[D], query: dict[str, Any]) -> D:
    rows = await document.find_rows(query, sort=[("_id", -1)], limit=1)
    return document.from_row(rows[0])


async def _known(victim: User, post: Post) -> Known:
    guests = await Comment.find_rows({"author_name": "A guest"}, {"_id": 1})
    of_victim = {
        "post_id": [str(post.id)],
        "slug": [post.slug],
        "post_key": [post.slug, str(post.id)],
        "user_id": [str(victim.id)],
        "actor_id": [str(victim.id)],
        "username": [victim.username],
        "author": [victim.username],
        "search": [victim.email, victim.username],
        "subject": [f"user:{victim.id}"],
        "comment_id": [str(row["_id"]) for row in guests],
    }
    return Known(await things_there_are(), of_victim)


async def things_there_are() -> dict[str, list[str]]:
    """Ids, slugs and names to put into requests, by the name of the parameter or field; above all of what is public."""
    public = await Post.find_rows({"status": PostStatus.PUBLISHED}, {"slug": 1}, sort=[("_id", -1)], limit=40)
    posts = [*public, *await Post.find_rows({"status": {"$ne": PostStatus.PUBLISHED}}, {"slug": 1}, sort=[("_id", -1)], limit=15)]
    open_ids = [row["_id"] for row in public]
    comments = []
    for status, most in ((CommentStatus.APPROVED, 40), (CommentStatus.PENDING, 10), (CommentStatus.SPAM, 5)):
        query = {"post_id": {"$in": open_ids}, "status": status}
        comments += await Comment.find_rows(query, {"_id": 1}, sort=[("_id", -1)], limit=most)
    users = await User.find_rows({"role": Role.USER, "is_active": True}, {"username": 1}, limit=40)
    tags = await Tag.find_rows({}, {"slug": 1}, limit=20)
    categories = await Category.find_rows({}, {"slug": 1}, limit=20)
    bans = await CommentBan.find_rows({}, {"_id": 1}, limit=20)
    return {
        **await shop_things(),
        "post_id": _ids(posts),
        "slug": [row["slug"] for row in posts],
        "post_key": [row["slug"] for row in posts] + _ids(posts),
        "category_key": [row["slug"] for row in categories] + _ids(categories),
        "category_id": _ids(categories),
        "category": [row["slug"] for row in categories],
        "tag_id": _ids(tags),
        "tag": [row["slug"] for row in tags],
        "ban_id": _ids(bans),
        "user_id": _ids(users),
        "actor_id": _ids(users),
        "username": [row["username"] for row in users],
        "author": [row["username"] for row in users],
        "comment_id": _ids(comments),
        "parent_id": _ids(comments),
        "number": ["1", "2"],
        "from": ["1"],
        "to": ["1", "2"],
    }


def _ids(rows: list[dict[str, Any]]) -> list[str]:
    return [str(row["_id"]) for row in rows]
