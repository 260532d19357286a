"""The rules of the house that a machine can check: who imports whom, where the lanes differ, how things are named."""

import ast
import functools
import gc
import importlib
import pkgutil
from pathlib import Path
from types import ModuleType

import pytest

import services
from api.errors import STATUS_BY_FAMILY, status_of
from services.errors import AppError

ROOT = Path(__file__).parent.parent
LAYERS = ("models", "services", "api", "scripts", "tests")
MAY_IMPORT = {
    "models": {"models"},
    "services": {"models", "services"},
    "api": {"models", "services", "api"},
    "scripts": {"models", "services", "api", "scripts"},
    "tests": set(LAYERS),
}
MAX_LINES = {"tests": 700}
SEAM = "models/database.py"
HTTP_DECORATORS = tuple(f"router.{method}" for method in ("get", "post", "put", "patch", "delete", "head", "api_route"))

# Routes that are a part of another domain: their services and models are that domain's.
PART_OF = {"auth": "users", "syndication": "blog"}


def sources(*layers: str) -> dict[str, ast.Module]:
    """Every module of these layers by its path from the root."""
    return {path: tree for layer in layers or LAYERS for path, tree in sources_of(layer).items()}


@functools.cache
def sources_of(layer: str) -> dict[str, ast.Module]:
    paths = sorted((ROOT / layer).rglob("*.py"))
    gc.disable()  # millions of nodes, and no garbage
    try:
        return {str(path.relative_to(ROOT)): ast.parse(path.read_text(encoding="utf-8")) for path in paths}
    finally:
        gc.enable()


@functools.cache
def nodes(tree: ast.AST) -> list[ast.AST]:
    return list(ast.walk(tree))


@functools.cache
def imported(tree: ast.AST) -> list[str]:
    names: list[str] = []
    for node in nodes(tree):
        if isinstance(node, ast.Import):
            names += (name.name for name in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are absolute"
            names.append(node.module or "")
        elif isinstance(node, ast.Call) and "import_module" in (getattr(node.func, "attr", ""), getattr(node.func, "id", "")):
            names += (str(argument.value) for argument in node.args if isinstance(argument, ast.Constant))
    return names


def breaches(layers: tuple[str, ...], *, packages: set[str], outside: tuple[str, ...]) -> list[str]:
    """Where modules of these layers, other than those whose path starts with `outside`, import one of the packages."""
    return [
        f"{path}: {name}"
        for path, tree in sources(*layers).items()
        if not path.startswith(outside)
        for name in imported(tree)
        if any(name == package or name.startswith(f"{package}.") for package in packages)
    ]


class TestImports:
    def test_x04_layers_import_downwards(self) -> None:
        wrong = [
            f"{path}: {name}"
            for path, tree in sources().items()
            for name in imported(tree)
            if (top := name.partition(".")[0]) in LAYERS and top not in MAY_IMPORT[path.partition("/")[0]]
        ]

        assert wrong == []

    def test_x04_http_is_known_in_api_alone(self) -> None:
        """The benchmark measures the framework by itself, so it knows it too."""
        packages = {"fastapi", "starlette", "fastapi_offline"}

        assert breaches(("models", "services", "api", "scripts"), packages=packages, outside=("api/", "scripts/bench")) == []

    def test_lanes_differ_in_one_file(self) -> None:
        packages = {"motor", "pymongo.asynchronous", "gridfs", "mongomock", "mongomock_motor"}

        assert breaches(("models", "services", "api", "scripts"), packages=packages, outside=(SEAM,)) == []

    def test_nobody_but_the_seam_asks_for_the_lane(self) -> None:
        words = {"LANE", "AsyncMongoClient", "AsyncIOMotorClient", "get_pymongo_collection", "get_motor_collection"}
        wrong = [
            f"{path}:{node.lineno}: {name}"
            for path, tree in sources("models", "services", "api").items()
            if path != SEAM
            for node in nodes(tree)
            if isinstance(node, ast.Name | ast.Attribute)
            and (name := node.id if isinstance(node, ast.Name) else node.attr) in words
        ]

        assert wrong == []

    def test_imports_stand_at_the_top(self) -> None:
        wrong = [
            f"{path}:{node.lineno}"
            for path, tree in sources().items()
            for function in nodes(tree)
            if isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
            for node in ast.walk(function)
            if isinstance(node, ast.Import | ast.ImportFrom)
        ]

        assert wrong == []


class TestNames:
    def test_no_file_is_named_for_what_it_is_not(self) -> None:
        nameless = {"utils", "util", "helpers", "helper", "common", "misc", "base_service", "shared"}

        assert [path for path in sources() if nameless & set(Path(path).with_suffix("").parts)] == []

    def test_every_domain_of_routes_has_services_and_models_of_its_name(self) -> None:
        domains = {PART_OF.get(stem, stem) for stem in stems("api/routes")}

        assert domains - stems("services") == set()
        assert domains - stems("models") == set()

    def test_exceptions_to_the_rule_still_exist(self) -> None:
        assert PART_OF.keys() <= stems("api/routes")

    def test_no_module_is_too_long(self) -> None:
        lines = {path: len((ROOT / path).read_text(encoding="utf-8").splitlines()) for path in sources()}

        assert {path: n for path, n in lines.items() if n > MAX_LINES.get(path.partition("/")[0], 600)} == {}

    def test_every_service_module_says_what_belongs_in_it(self) -> None:
        silent = [path for path, tree in sources("models", "services").items() if tree.body and not ast.get_docstring(tree)]

        assert silent == []


def stems(folder: str) -> set[str]:
    return {path.stem for path in (ROOT / folder).iterdir() if path.suffix == ".py" or path.is_dir()} - {
        "__init__",
        "__pycache__",
    }


class TestServices:
    def test_services_are_namespaces_of_static_methods(self) -> None:
        wrong = []
        for path, tree in sources("services").items():
            for kind in nodes(tree):
                if not (isinstance(kind, ast.ClassDef) and kind.name.endswith("Service")):
                    continue
                for member in kind.body:
                    if isinstance(member, ast.Expr):  # the docstring
                        continue
                    decorators = {ast.unparse(decorator) for decorator in getattr(member, "decorator_list", [])}
                    if not isinstance(member, ast.FunctionDef | ast.AsyncFunctionDef) or "staticmethod" not in decorators:
                        wrong.append(f"{path}:{member.lineno}: {kind.name}")

        assert wrong == []

    def test_subject_first_and_everything_else_by_name(self) -> None:
        """At most three positional arguments: a session or the two ends of a relation, and the subject."""
        wrong = [
            f"{path}:{method.lineno}: {kind.name}.{method.name}"
            for path, tree in sources("services").items()
            for kind in nodes(tree)
            if isinstance(kind, ast.ClassDef) and kind.name.endswith("Service")
            for method in kind.body
            if isinstance(method, ast.FunctionDef | ast.AsyncFunctionDef) and len(method.args.args) > 3
        ]

        assert wrong == []

    def test_every_service_method_is_fully_typed_and_returns_no_loose_dictionary(self) -> None:
        wrong = []
        for path, tree in sources("services").items():
            for kind in nodes(tree):
                if not (isinstance(kind, ast.ClassDef) and kind.name.endswith("Service")):
                    continue
                for method in kind.body:
                    if isinstance(method, ast.FunctionDef | ast.AsyncFunctionDef) and not method.name.startswith("_"):
                        returned = ast.unparse(method.returns) if method.returns else ""
                        if returned in ("", "dict", "Any") or returned.startswith("dict[str, Any]"):
                            wrong.append(f"{path}:{method.lineno}: {kind.name}.{method.name} -> {returned}")

        assert wrong == []


class TestTime:
    def test_x07_no_clock_without_a_zone(self) -> None:
        """X-07 TRAP: `utcnow()` and naive `now()` in turns."""
        wrong = []
        for path, tree in sources().items():
            for node in nodes(tree):
                if isinstance(node, ast.Attribute) and node.attr in ("utcnow", "utcfromtimestamp", "today"):
                    wrong.append(f"{path}:{node.lineno}")
                if isinstance(node, ast.Call) and ast.unparse(node.func) in ("datetime.now", "datetime.datetime.now"):
                    zone = [*node.args, *(keyword.value for keyword in node.keywords)]
                    if not zone or ast.unparse(zone[0]) == "None":
                        wrong.append(f"{path}:{node.lineno}")

        assert wrong == []


class TestWrites:
    def test_x19_nothing_reads_edits_and_saves(self) -> None:
        """X-19 TRAP: `save()` on contended data; Beanie's other whole-document writes with it."""
        whole = {"save", "save_changes", "replace_one", "insert_many", "delete_all"}
        wrong = [
            f"{path}:{node.lineno}: {ast.unparse(node.func)}"
            for path, tree in sources("services", "api").items()
            for node in nodes(tree)
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in whole
        ]

        assert wrong == []

    def test_routes_send_no_command(self) -> None:
        """X-04: HTTP usable without knowing Mongo. Handlers call services; only `api/health.py` looks at the database itself."""
        calls = {
            "find_row",
            "find_rows",
            "find_one",
            "aggregate_rows",
            "aggregate",
            "change",
            "change_many",
            "store",
            "collection",
        }
        wrong = [
            f"{path}:{node.lineno}: {ast.unparse(node.func)}"
            for path, tree in sources("api").items()
            if path != "api/health.py"
            for node in nodes(tree)
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in calls
        ]

        assert wrong == []

    def test_handlers_do_not_try(self) -> None:
        """STYLE 3.6: no `try` and no ladder of statuses in a handler."""
        wrong = [
            f"{path}:{node.lineno}"
            for path, tree in sources("api").items()
            if path.startswith("api/routes/")  # readiness looks at the database itself
            for handler in nodes(tree)
            if isinstance(handler, ast.AsyncFunctionDef | ast.FunctionDef)
            if any(ast.unparse(decorator).startswith(HTTP_DECORATORS) for decorator in handler.decorator_list)
            for node in ast.walk(handler)
            if isinstance(node, ast.Try) or (isinstance(node, ast.Raise) and "HTTPException" in ast.unparse(node))
        ]

        assert wrong == []


def service_modules() -> list[ModuleType]:
    return [importlib.import_module(found.name) for found in pkgutil.walk_packages(services.__path__, "services.")]


def all_errors() -> list[type[AppError]]:
    """Every error of ours, once all modules that may define one are imported."""
    service_modules()
    importlib.import_module("api.app")
    found: dict[str, type[AppError]] = {}
    waiting = [AppError]
    while waiting:
        kind = waiting.pop()
        waiting += kind.__subclasses__()
        if kind is not AppError and kind.__module__.partition(".")[0] in ("services", "api"):
            found[f"{kind.__module__}.{kind.__qualname__}"] = kind
    return [found[name] for name in sorted(found)]


class TestErrors:
    def test_every_error_has_a_docstring_a_code_of_its_own_and_a_status(self) -> None:
        for error in all_errors():
            assert (error.__doc__ or "").strip(), error
            assert "code" in vars(error), f"{error} has no code of its own"
            assert error.code.islower(), error
            assert 400 <= status_of(error) < 600, error
            assert status_of(error) != 500, error
            assert error.__name__.endswith("Error"), error

    def test_codes_are_unique(self) -> None:
        codes = [error.code for error in all_errors()]

        assert sorted(codes) == sorted(set(codes))

    def test_docstring_restates_no_name(self) -> None:
        for error in all_errors():
            assert len((error.__doc__ or "").split()) >= 4, error

    def test_families_are_few(self) -> None:
        families = {kind for kind in STATUS_BY_FAMILY if kind.__module__ == "services.errors"}

        assert set(STATUS_BY_FAMILY) == families
        assert all(error in families or any(parent in families for parent in error.__mro__) for error in all_errors())

    @pytest.mark.parametrize("kind", [ValueError, KeyError, LookupError, Exception])
    def test_foreign_exceptions_are_not_mapped(self, kind: type[Exception]) -> None:
        """STYLE 3.5 and BLG-A3: a ValueError of anybody's is no 400."""
        assert not any(issubclass(family, kind) for family in STATUS_BY_FAMILY if kind is not Exception)
