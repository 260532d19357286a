"""The words the sample shop is made of."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Shelf:
    """A leaf of the category tree and what stands on it. Prices are in whole units of the shop's currency."""

    path: tuple[str, ...]  # names from the root
    nouns: tuple[str, ...]
    brands: tuple[str, ...]
    prices: tuple[int, int]
    weight_grams: int
    sizes: tuple[str, ...] = ()
    is_digital: bool = False


_SIZES = ("S", "M", "L", "XL")

SHELVES = (
    Shelf(
        ("Electronics", "Computers", "Laptops"),
        ("laptop", "ultrabook", "notebook"),
        ("Northwind", "Kestrel", "Orbita"),
        (649, 1899),
        1600,
    ),
    Shelf(
        ("Electronics", "Computers", "Accessories"),
        ("keyboard", "mouse", "docking station", "webcam", "monitor arm"),
        ("Kestrel", "Tactus"),
        (25, 220),
        600,
    ),
    Shelf(
        ("Electronics", "Audio"),
        ("headphones", "bookshelf speaker", "turntable", "earbuds"),
        ("Larkspur", "Orbita", "Foley"),
        (39, 420),
        900,
    ),
    Shelf(("Electronics", "Phones"), ("phone", "phone case", "charger", "power bank"), ("Northwind", "Orbita"), (15, 899), 250),
    Shelf(
        ("Clothing", "Shirts"),
        ("shirt", "polo shirt", "T-shirt", "overshirt"),
        ("Harbour & Hill", "Fieldnote"),
        (19, 89),
        250,
        _SIZES,
    ),
    Shelf(
        ("Clothing", "Knitwear"), ("jumper", "cardigan", "beanie", "scarf"), ("Harbour & Hill", "Skerry"), (24, 140), 400, _SIZES
    ),
    Shelf(("Clothing", "Outerwear"), ("rain jacket", "parka", "waistcoat"), ("Skerry", "Fieldnote"), (69, 310), 900, _SIZES),
    Shelf(
        ("Home", "Kitchen"),
        ("chef's knife", "cast-iron pan", "teapot", "mixing bowl", "espresso maker"),
        ("Hearthside", "Alder"),
        (14, 180),
        1100,
    ),
    Shelf(("Home", "Lighting"), ("desk lamp", "pendant light", "floor lamp"), ("Alder", "Lumen"), (29, 260), 2200),
    Shelf(("Home", "Textiles"), ("linen throw", "cushion", "bath towel", "rug"), ("Skerry", "Hearthside"), (12, 190), 800),
    Shelf(
        ("Outdoors", "Camping"), ("tent", "sleeping bag", "camp stove", "lantern"), ("Fieldnote", "Ridgeline"), (25, 480), 1900
    ),
    Shelf(("Outdoors", "Cycling"), ("bike light", "pannier", "helmet", "pump"), ("Ridgeline", "Spoke"), (16, 140), 500),
    Shelf(("Books", "Paper"), ("field guide", "cookbook", "novel", "atlas"), ("Agora Press", "Quarto"), (9, 45), 500),
    Shelf(("Books", "Downloads"), ("e-book", "audiobook", "sheet music"), ("Agora Press", "Quarto"), (4, 25), 0, is_digital=True),
)

ADJECTIVES = (
    "quiet", "plain", "folding", "everyday", "northern", "brushed", "compact", "heavyweight", "recycled", "classic", "slim",
    "weekend", "studio", "travel", "hand-made", "two-tone", "warm", "small", "large", "waterproof",
)  # fmt: skip
COLOURS = ("black", "white", "blue", "green", "red", "sand")
MATERIALS = ("cotton", "wool", "linen", "steel", "oak", "aluminium", "glass", "recycled plastic")

SELLING_POINTS = (
    "Made to be repaired: every part can be ordered for ten years.",
    "Tested for a year by the people who sell it.",
    "Packed without plastic.",
    "Lighter than it looks, and stronger.",
    "The colour stays after a hundred washes.",
    "Comes with everything it needs.",
    "Designed to be put together without tools.",
    "Goes with everything else on this shelf.",
)

REVIEWS = {
    5: (("Exactly right", "Does what it says, and looks good doing it."), ("Would buy again", "A year in, still as new.")),
    4: (("Very good", "One star off for the manual."), ("Solid", "Well made. Delivery took a day longer than promised.")),
    3: (("Fine", "Neither more nor less than expected."), ("Mixed", "Good material, smaller than I thought.")),
    2: (("Not for me", "The finish is rough on one side."),),
    1: (("Disappointed", "Arrived scratched. Service was friendly, though."),),
}
RATINGS = {5: 46, 4: 31, 3: 13, 2: 6, 1: 4}  # and how often each is given

CITIES = (("Springfield", "IL", "62701"), ("Portland", "OR", "97201"), ("Austin", "TX", "73301"), ("Boston", "MA", "02108"))
CARRIERS = ("DHL", "UPS", "FedEx")
