"""Running numbers: orders of a day, returns, purchase orders."""

from pymongo import ASCENDING, IndexModel

from models.base import AgoraDocument


class Sequence(AgoraDocument):
    """The last number given out under a name, such as `ORD-20261121`."""

    name: str
    value: int = 0

    class Settings:
        name = "sequences"
        indexes = [IndexModel([("name", ASCENDING)], name="name_unique", unique=True)]
