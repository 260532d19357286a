"""Who sends the requests of `make fuzz`, and how generated ones are aimed at what exists, repeated and spoilt."""

import copy
import json
import random
from typing import Any

import requests
from schemathesis import APIOperation
from schemathesis import Case as GenericCase
from schemathesis.core.result import Ok
from schemathesis.core.transport import Response

from models.ecommerce.carts import Cart
from models.users import Role
from scripts.fuzzing.bodies import BODIES, STATES
from scripts.fuzzing.fresh import fresh_comment, fresh_token
from scripts.fuzzing.shop import CART_OPERATIONS, fill_cart, known_as, make_own
from scripts.fuzzing.target import PASSWORD, Person, Target

Operation = APIOperation[Any, Any, Any, Any]
Case = GenericCase[Any]

ROLES: dict[str, Role | None] = {"anonymous": None, "reader": Role.USER, "admin": Role.ADMIN}
MAX_KEPT = 50

# What JSON in the wild holds and no schema generates; each stands in the place of one value of a body.
SPOILT = (
    b"NaN",
    b"-Infinity",
    b"1e999",
    b"1" * 5000,
    b'"\\ud800"',
    b'"\\u0000"',
    b'"\xff\xfe"',
    b'"\xed\xa0\x80"',
    b'{"$ne": null}',
    b'{"$where": "1"}',
    b"[" * 3000 + b"]" * 3000,
    b'"' + b"x" * 100_000 + b'"',
    b"null",
    b"",
)
# Fields that hold several ids, and what one of them is called.
_LISTS = {
    "tag_ids": "tag_id",
    "comment_ids": "comment_id",
    "order_ids": "order_id",
    "product_ids": "product_id",
    "category_ids": "product_category_id",
    "coupon_codes": "coupon_code",
}
SPOILT_QUERIES = ("%00", "%ff", "%ed%a0%80", "%F0%9F%92%A9", "[$ne]=1", "%0d%0aX-Evil:1", "9" * 400)


def operations_of(target: Target) -> list[Operation]:
    return [found.ok() for found in target.schema.get_all_operations() if isinstance(found, Ok)]


def id_of(operation: Operation) -> str:
    return str(operation.definition.raw["operationId"])


class Caller:
    """One role's requests. A new person takes over when the session of the last one has ended by what was tried."""

    def __init__(self, target: Target, name: str, *, dice: random.Random) -> None:
        self.target = target
        self.name = name
        self.role = ROLES[name]
        self.dice = dice
        self.http = requests.Session()
        self.http.trust_env = False
        self.person: Person | None = None
        self.kept: dict[str, list[str]] = {}  # cursors and tags that earlier answers held
        self.cart: Cart | None = None  # of this person, as it was last filled
        self.renew()

    def renew(self) -> None:
        self.cart = None
        self.person = self.target.person(self.role) if self.role is not None else None

    @property
    def headers(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.person.token}"} if self.person else {}

    def try_out(self, case: Case) -> list[Response]:
        """The answers to this case aimed at what exists, sometimes to its repetition, and to a spoilt form of it."""
        if self.person and id_of(case.operation) in CART_OPERATIONS and self.dice.random() < 0.7:
            self.cart = self.target.do(fill_cart(self.person.id))
        self.aim(case)
        answers = [self.send(case)]
        if case.method == "POST" and self.dice.random() < 0.2:
            answers.append(self.send(case))
        if self.dice.random() < 0.25:
            answers.append(self.send(case, spoilt=True))
        return answers

    def read(self, case: Case) -> Response:
        """The whole answer to this very case."""
        return self._send(case, {}, spoilt=False)

    def send(self, case: Case, *, spoilt: bool = False) -> Response:
        """One answer, conditional at times; another person asks again where the session was over."""
        response = self._send(case, self._conditions(case), spoilt=spoilt)
        if response.status_code == 401 and self.person and id_of(case.operation) != "login":
            self.renew()
            response = self._send(case, self._conditions(case), spoilt=spoilt)
        self._keep(response)
        return response

    def _send(self, case: Case, conditions: dict[str, str], *, spoilt: bool) -> Response:
        self.http.cookies.clear()
        request = case.as_transport_kwargs(base_url=self.target.url, headers=conditions)
        request["headers"].update(self.headers)  # a generated token would make the person a stranger
        if spoilt:
            self._spoil(request)
        answer = self.http.request(**request, allow_redirects=False, timeout=30)
        return Response.from_requests(answer, verify=True)

    def _conditions(self, case: Case) -> dict[str, str]:
        tokens = self._guest_tokens(case)
        tags = ["*", '"1"', "nonsense", *self.kept.get("etag", [])]
        is_change = case.method == "PATCH" or "If-Match" in (case.headers or {})
        if (is_change or case.method == "GET") and self.dice.random() < 0.7:
            name = "If-Match" if is_change else "If-None-Match"
            return {**tokens, name: "*" if is_change and self.dice.random() < 0.7 else self.dice.choice(tags)}
        return tokens

    def _guest_tokens(self, case: Case) -> dict[str, str]:
        """What a guest was told when they filled a cart, and when they ordered."""
        if self.person is not None or self.dice.random() < 0.2:
            return {}
        order, _, token = next((pair for pair in self.kept.get("guest order", []) if pair), "").partition(" ")
        if order and (case.path_parameters or {}).get("order_id") == order:
            return {"X-Order-Token": token}
        carts = self.kept.get("guest cart", [])
        return {"Cart-Token": carts[-1]} if carts and id_of(case.operation) in {*CART_OPERATIONS, "add_to_cart"} else {}

    def _keep(self, response: Response) -> None:
        found = {"etag": response.headers.get("etag", [""])[0]}
        is_json = response.headers.get("content-type", [""])[0] == "application/json"
        told = response.json() if is_json and response.content and response.status_code < 300 else None
        if isinstance(told, dict):
            found["cursor"] = told.get("next_cursor") or ""
            found["guest cart"] = told.get("cart_token") or ""
            if told.get("guest_token"):
                found["guest order"] = f"{told['order']['id']} {told['guest_token']}"
        for name, value in found.items():
            if value:
                self.kept[name] = [*self.kept.get(name, []), value][-MAX_KEPT:]

    # Aiming

    def aim(self, case: Case) -> None:
        """Name things that exist in some of the parameters and fields, so that more than the check of inputs is reached."""
        whole = BODIES.get(id_of(case.operation))
        is_whole = whole is not None and self.dice.random() < 0.4
        if is_whole:
            case.body = copy.deepcopy(whole)
        in_body = 1.0 if is_whole else 0.6
        places: tuple[tuple[Any, float], ...] = ((case.path_parameters, 0.8), (case.query, 0.5), (case.body, in_body))
        for where, odds in places:
            if isinstance(where, dict):
                self._aim(case, where, odds)

    def _aim(self, case: Case, where: dict[str, Any], odds: float) -> None:
        for name in sorted(where, key=lambda name: (name not in ("order_id", "product_id"), name)):  # before what belongs to them
            value = where[name]
            for inner in value if isinstance(value, list) else [value]:
                if isinstance(inner, dict):
                    self._aim(case, inner, odds)
            if isinstance(value, dict) or (isinstance(value, list) and value and isinstance(value[0], dict)):
                continue
            if self.dice.random() >= odds:
                continue
            if name in _LISTS:
                known = self.choices(case, _LISTS[name], where=where)
                where[name] = self.dice.sample(known, min(2, len(known)))
            elif choices := self.choices(case, name, is_field=where is not case.path_parameters, where=where):
                where[name] = self.dice.choice(choices)

    def choices(self, case: Case, name: str, *, is_field: bool = True, where: dict[str, Any] | None = None) -> list[str]:
        """Values for a parameter or field of this name, beside the others in `where`; none where any will do."""
        name = known_as(case.path, name)
        if not is_field and (fresh_one := self._fresh(case, name)) is not None:
            return [fresh_one]
        if name == "token" and (fresh_one := self._fresh(case, name)) is not None:
            return [fresh_one]
        if name == "order_id" and self.person is None and self.kept.get("guest order"):
            return [self.kept["guest order"][0].partition(" ")[0]]
        if belonging := self._belonging(case, name, where or {}):
            return belonging
        if in_state := self._in_state(case, name):
            return in_state
        if name in self.kept:
            return self.kept[name]
        fresh = f"person-{self.dice.getrandbits(40):x}"
        own: dict[str, list[str]] = {
            "session_id": [str(self.person.session_id)] if self.person else [],
            "login": [self.person.username if self.person else fresh],
            "password": [PASSWORD],
            "current_password": [PASSWORD],
            "new_password": [f"{fresh} of length"],
            "email": [f"{fresh}@example.com", f"{fresh}@b\u00fccher.example"],
            "new_email": [f"{fresh}@example.com"],
            "scheduled_at": ["2031-01-01T00:00:00Z"],
            "expires_at": ["2031-01-01T00:00:00Z"],
            "unpublish_at": ["2032-01-01T00:00:00Z"],
        }
        if name == "username" and is_field and case.method == "POST":
            return [fresh]
        if name == "value":
            return [f"{fresh}@example.com", f"203.0.113.{self.dice.randrange(256)}", *self.target.known.values["user_id"][:3]]
        return own.get(name) or self.target.known.values.get(name, [])

    def _in_state(self, case: Case, name: str) -> list[str]:
        """What is in the state that the operation asks for; mostly, because it has to refuse the others."""
        state = STATES.get(id_of(case.operation), {}).get(name)
        return self.target.known.values.get(f"{state} {name}", []) if state and self.dice.random() < 0.8 else []

    def _belonging(self, case: Case, name: str, where: dict[str, Any]) -> list[str]:
        """What is part of something named already: a line of the order in the path, a variant of the product beside it."""
        if self.cart is not None and id_of(case.operation) in CART_OPERATIONS and name in ("variant_id", "coupon_code"):
            return self.cart.coupon_codes if name == "coupon_code" else [str(line.variant_id) for line in self.cart.lines]
        of = {
            "line_id": [f"lines of {value}" for value in (case.path_parameters or {}).values()],
            "fulfilment_id": [f"parcels of {value}" for value in where.values()],
            "variant_id": [f"variants of {where.get('product_id')}"],
        }
        return next((found for key in of.get(name, []) if (found := self.target.known.values.get(key))), [])

    def _fresh(self, case: Case, name: str) -> str | None:
        operation = id_of(case.operation)
        target = self.target
        post_id = target.known.values["post_id"][0]
        if name == "token":
            owner = self.person or target.person(Role.USER)
            hashed = target.password_hash
            work = fresh_token(operation, owner.id, post_id=post_id, password_hash=hashed, settings=target.settings)
        elif self.person is None or self.dice.random() < 0.3:
            return None
        elif name == "comment_id":
            work = fresh_comment(operation, self.person.id, post_id=post_id)
        else:
            work = make_own(operation, name, self.person.id)
        return target.do(work)

    def _spoil(self, request: dict[str, Any]) -> None:
        body = request.pop("json", None)
        if body is None and "data" not in request:
            rude = self.dice.choice(SPOILT_QUERIES)
            separator = "&" if "?" in request["url"] else "?"
            names = [*(request.get("params") or {}), "page", "cursor"]
            request["url"] += f"{separator}{self.dice.choice(names)}={rude}"
            return
        rude_value = self.dice.choice(SPOILT)
        if isinstance(body, dict) and body and self.dice.random() < 0.8:
            name = self.dice.choice(list(body))
            members = [
                json.dumps(str(key)).encode() + b":" + (rude_value if key == name else json.dumps(value).encode())
                for key, value in body.items()
            ]
            request["data"] = b"{" + b",".join(members) + b"}"
        else:
            request["data"] = rude_value
        kinds = ("application/json", "application/json; charset=latin-1", "text/plain", "application/x-www-form-urlencoded")
        request["headers"]["Content-Type"] = self.dice.choices(kinds, weights=(8, 1, 1, 1))[0]
