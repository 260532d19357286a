"""What the embedded server answers silently otherwise than MongoDB is not written (RELIABILITY A4, A5.5)."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path
from typing import get_args, get_origin

import pytest
from pydantic import BaseModel

from models.documents import DOCUMENTS

ROOT = Path(__file__).parent.parent
PATHS = sorted(path for layer in ("models", "services", "scripts", "api") for path in (ROOT / layer).rglob("*.py"))

# Refused by the embedded server, differing there, or running the user's code on any server.
FORBIDDEN_OPERATORS = {"$text", "$densify", "$sampleRate", "$where", "$function", "$accumulator", "$near", "$natural"}
DATE_LIKE = re.compile(r"\$\$?(?:\w+\.)*(?:\w+_at|\w+_on|day|NOW)$")


def list_fields(kind: type[BaseModel]) -> set[str]:
    """Names of fields that hold arrays, here and in embedded parts."""
    names = set()
    for name, field in kind.model_fields.items():
        for part in [field.annotation, *get_args(field.annotation)]:
            if get_origin(part) is list:
                names.add(name)
            for inner in [part, *get_args(part)]:
                if isinstance(inner, type) and issubclass(inner, BaseModel) and inner is not kind:
                    names |= list_fields(inner)
    return names


ARRAYS = set().union(*(list_fields(document) for document in DOCUMENTS))


def findings(source: str) -> list[str]:
    """What the lint says about one module."""
    tree = ast.parse(source)
    patterns = {
        ast.unparse(target)
        for node in ast.walk(tree)
        if isinstance(node, ast.Assign) and _is_compiled(node.value)
        for target in node.targets
    }
    texts = [node.value for node in ast.walk(tree) if isinstance(node, ast.Constant) and isinstance(node.value, str)]
    unwound = {text.lstrip("$") for text in texts if "$unwind" in source and text.startswith("$")}
    found = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Dict):
            found += [f"{node.lineno}: {finding}" for finding in _in_dictionary(node, patterns)]
        elif isinstance(node, ast.Call):
            found += [f"{node.lineno}: {finding}" for finding in _in_call(node)]
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            walked = re.match(r"\$(\w+)\.\w", node.value)
            if walked and walked.group(1) in ARRAYS and walked.group(1) not in unwound:
                found.append(f"{node.lineno}: {node.value} walks an array: $unwind, $map or $reduce it")
    return found


def _is_compiled(node: ast.AST) -> bool:
    return isinstance(node, ast.Call) and ast.unparse(node.func) in ("re.compile", "Regex", "bson.Regex")


def _in_dictionary(node: ast.Dict, patterns: set[str]) -> Iterator[str]:
    for key, value in zip(node.keys, node.values, strict=True):
        name = key.value if isinstance(key, ast.Constant) and isinstance(key.value, str) else ""
        if _is_compiled(value) or (name and ast.unparse(value) in patterns):
            yield "a compiled pattern in a filter finds nothing on an indexed field: use $regex and $options"
        if name in FORBIDDEN_OPERATORS:
            yield f"{name} is not the same on both servers"
        if name in ("$add", "$subtract"):
            operands = [part.value for part in ast.walk(value) if isinstance(part, ast.Constant) and isinstance(part.value, str)]
            has_span = any(isinstance(part, ast.Name) and part.id == "timedelta" for part in ast.walk(value))
            if has_span or any(DATE_LIKE.match(operand) for operand in operands):
                yield f"{name} on a date: use $dateAdd or $dateDiff"


def _in_call(node: ast.Call) -> Iterator[str]:
    name = ast.unparse(node.func).rpartition(".")[2]
    keywords = {keyword.arg: ast.unparse(keyword.value) for keyword in node.keywords}
    if name == "IndexModel":
        keys = ast.unparse(node.args[0]) if node.args else ""
        if re.search(r"'(?:text|hashed|2d)'|TEXT\b|HASHED\b", keys):
            yield "text and hashed indexes are refused"
        if "collation" in keywords:
            yield "a collation is not enforced by a unique index: store a normalised field"
    if name == "create_collection" and ("capped" in keywords or "collation" in keywords):
        yield "capped collections and default collations are ignored"
    if keywords.get("fetch_links") == "True" or name in ("fetch_all_links", "fetch_link"):
        yield "links are read as plain ids"


class TestLint:
    @pytest.mark.parametrize("path", PATHS, ids=lambda path: str(path.relative_to(ROOT)))
    def test_r19_module_is_clean(self, path: Path) -> None:
        assert findings(path.read_text(encoding="utf-8")) == []

    def test_arrays_are_known(self) -> None:
        assert {"tag_ids", "terms"} <= ARRAYS

    @pytest.mark.parametrize(
        "source",
        [
            'find({"name": re.compile("^a")})',
            'P = re.compile("a")\nfind({"name": P})',
            'x = {"$sum": "$terms.weight"}',
            'x = {"$add": ["$created_at", 5]}',
            'x = {"$subtract": ["$$NOW", "$published_at"]}',
            'x = {"$add": ["$n", timedelta(days=1)]}',
            'x = {"$text": {"$search": "a"}}',
            'x = {"$where": "1"}',
            'IndexModel([("name", "text")])',
            'IndexModel([("name", pymongo.HASHED)])',
            'IndexModel([("name", 1)], unique=True, collation=C)',
            'db.create_collection("a", capped=True)',
            "Post.find(fetch_links=True)",
        ],
    )
    def test_what_differs_is_found(self, source: str) -> None:
        assert len(findings(source)) == 1

    @pytest.mark.parametrize(
        "source",
        [
            'x = [{"$unwind": "$terms"}, {"$group": {"_id": "$terms.term"}}]',
            'x = {"terms.term": "a"}',
            'x = {"$dateAdd": {"startDate": "$created_at", "unit": "day", "amount": 1}}',
            'x = {"$add": ["$likes_count", "$views_count"]}',
            'P = re.compile("a")\nP.match("a")',
            'x = {"$map": {"input": "$terms", "in": "$$this.weight"}}',
        ],
    )
    def test_what_is_the_same_on_both_servers_is_let_pass(self, source: str) -> None:
        assert findings(source) == []
