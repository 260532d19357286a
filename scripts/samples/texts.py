"""The words the sample data is made of."""

from dataclasses import dataclass

_FIRST_NAMES = """
Ada Amara Anders Anna Aylin Ben Carlos Chidi Clara Dana Dmitri Elena Emil Fatima Felix Grace Hana Hugo Ines Ivan Jack Jia Jonas
Kaito Karim Lea Leila Liam Linh Lucia Mara Mateo Maya Mia Milan Nadia Nils Noor Olga Omar Paula Priya Rafael Rosa Ruth Sara Selim
Sofia Tariq Teo Tomas Uma Vera Viktor Wanda Yara Yusuf Zoe
"""
_LAST_NAMES = """
Abe Adeyemi Andersson Baker Bauer Berg Castro Chen Cohen Costa Dimitrov Dubois Eriksen Fischer Flores Garcia Gupta Haas Hansen
Hughes Ito Jansen Kaya Keller Khan Kim Kovac Larsen Lopez Maier Marino Mbeki Moreau Nagy Nakamura Nguyen Novak Okafor Olsen Park
Patel Petrov Popescu Rao Ricci Rossi Sato Schmidt Silva Singh Smith Svensson Tanaka Torres Vargas Virtanen Weber Wilson Yilmaz
Zhang
"""
FIRST_NAMES = _FIRST_NAMES.split()
LAST_NAMES = _LAST_NAMES.split()


@dataclass(frozen=True)
class Topic:
    """What posts of one category are about."""

    category: str
    slug: str
    color: str
    description: str
    tags: tuple[str, ...]
    subjects: tuple[str, ...]


TOPICS = (
    Topic(
        "Technology",
        "technology",
        "#3498db",
        "What runs underneath",
        ("MongoDB", "Database", "Cloud", "Security", "Performance", "DevOps", "Open Source"),
        (
            "replica sets", "write concerns", "connection pools", "object stores", "rate limits", "event logs", "backups",
            "multikey indexes", "secret keys", "load tests", "edge caches", "database migrations",
        ),
    ),
    Topic(
        "Programming",
        "programming",
        "#e74c3c",
        "How it is written",
        ("Python", "FastAPI", "Web Development", "Testing", "Architecture", "Rust", "Performance"),
        (
            "type hints", "async generators", "property tests", "dependency graphs", "structured logs", "error messages",
            "code reviews", "pure functions", "state machines", "idempotent endpoints", "test factories", "small refactorings",
        ),
    ),
    Topic(
        "Design",
        "design",
        "#9b59b6",
        "How it looks and feels",
        ("Design", "UX", "Typography", "Accessibility", "Colour", "Prototyping"),
        (
            "white spaces", "colour palettes", "empty states", "form labels", "type scales", "design tokens", "paper prototypes",
            "focus rings", "icon sets", "dark themes", "loading states", "grid systems",
        ),
    ),
    Topic(
        "Lifestyle",
        "lifestyle",
        "#f39c12",
        "What else there is",
        ("Travel", "Food", "Books", "Productivity", "Remote Work"),
        (
            "night trains", "sourdough starters", "reading lists", "slow mornings", "paper notebooks", "city gardens",
            "long walks", "home offices", "coffee rituals", "weekend trips", "mended clothes", "board games",
        ),
    ),
)  # fmt: skip

TITLES = (
    "Why {s} matter",
    "A field guide to {s}",
    "What {s} taught us",
    "Living with {s}",
    "The quiet power of {s}",
    "Ten minutes with {s}",
    "Getting started with {s}",
    "How we changed our mind about {s}",
    "Mistakes we made with {s}",
    "In praise of {s}",
)

OPENINGS = (
    "Most of what is written about {s} starts at the wrong end.",
    "A year ago nobody on our team cared about {s}.",
    "There are two kinds of people: those who like {s}, and those who have not tried them properly.",
    "This is a short report on {s}, with the numbers left in.",
)

SENTENCES = (
    "We measured before and after, and the difference was larger than anyone had guessed.",
    "The first attempt took {n} days and was thrown away.",
    "It helps to think of {s} as a habit rather than a project.",
    "Whoever comes from {t} will find much of this familiar.",
    "Nobody misses the old way.",
    "Start small, write down what you expect, and compare.",
    "The documentation says otherwise, but in practice {s} and {t} belong together.",
    "After {n} weeks the complaints stopped.",
    "What surprised us most was how little it cost.",
    "If there is one thing to remember about {s}, it is that they need care every week.",
    "We asked {n} readers, and most of them agreed.",
    "That is easy to say and hard to do on a busy day.",
    "Some problems went away by themselves once {t} were in place.",
    "There is a limit, of course, and it comes sooner than you think.",
    "Leave the clever parts out until somebody asks for them.",
    "A good example is worth more than a rule.",
)

HEADINGS = ("Where we began", "What went wrong", "What we do now", "Numbers", "In short")

POINTS = ("write it down", "try it on a Tuesday", "ask someone who disagrees", "measure twice", "keep the old one for a week")

COMMENTS = (
    "Thank you, this is the clearest text on the subject I have read.",
    "We had exactly the same problem last month.",
    "I *disagree* with the second part, but the first is spot on.",
    "How does this work for smaller teams?",
    "Bookmarked. More of these, please!",
    "The part about measuring first cannot be repeated often enough.",
    "Did you try it the other way round?",
    "This saved me an afternoon.",
    "Could you share the numbers behind this?",
    "I am not convinced yet, but I will give it a try.",
    "A small correction: it took **three** releases, not two.",
    "Read it twice, learned something both times.",
    "What would you recommend as a next step?",
    "That matches our experience.",
    "Please write a follow-up.",
    "Sent this to my whole team.",
)

REPLIES = (
    "Good question, I wonder as well.",
    "Agreed.",
    "It depends on the size, I think.",
    "We did, and it was not worth it.",
    "Thanks for pointing that out!",
    "There is more on that in the next post.",
)

SPAM = "Cheap watches, best price!!!"


@dataclass(frozen=True)
class StoryPost:
    """One of the three posts the first demonstration is about."""

    title: str
    author: str
    category: str
    tags: tuple[str, ...]
    excerpt: str
    content: str


STORY = (
    StoryPost(
        "Getting Started with MongoDB",
        "johndoe",
        "Technology",
        ("MongoDB", "Database"),
        "Documents, collections, indexes: the first hour with MongoDB.",
        """MongoDB keeps **documents**: what belongs together is stored together.

## The first hour

Start a server, insert a document, find it again:

```python
await posts.insert_one({"title": "Hello", "tags": ["first"]})
await posts.find_one({"tags": "first"})
```

## Indexes

A query that is asked often deserves an index made for it: equality first, then sort order, then ranges. MongoDB tells with
`explain` whether the index is used.
""",
    ),
    StoryPost(
        "Building Modern APIs with Python and FastAPI",
        "janedoe",
        "Programming",
        ("Python", "FastAPI", "Web Development"),
        "Types in, validated JSON out: an API in an afternoon.",
        """Python has type hints, and FastAPI takes them at their word.

## A first endpoint

```python
@app.get("/posts/{slug}")
async def get_post(slug: str) -> Post: ...
```

The same line is the route, the validation and the documentation.

## Where to go from there

- keep handlers short
- put the rules into services
- let the database do the counting, with MongoDB or any other
""",
    ),
    StoryPost(
        "Principles of Good Design",
        "janedoe",
        "Design",
        ("Design", "UX"),
        "Less, but better - and what that means on a screen.",
        """Good design is not what something looks like. It is how easily it is understood.

## Three questions

1. What is this for?
2. What happens when nothing is there yet?
3. Who is left out?

Answer them before choosing a colour.
""",
    ),
)  # fmt: skip
