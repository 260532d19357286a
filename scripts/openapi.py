"""`make openapi`: write the API's description to docs/openapi.json, which a test compares with what the code says."""

import json
from pathlib import Path

from api.app import create_app
from services.settings import Settings

SNAPSHOT = Path(__file__).parent.parent / "docs" / "openapi.json"


def current_document() -> str:
    """The document as the code describes the API now. It depends on no setting, and needs no database."""
    settings = Settings(_env_file=None, secret_key="-" * 32, mongodb_uri="mongodb://127.0.0.1")
    return json.dumps(create_app(settings).openapi(), indent=1, ensure_ascii=False, sort_keys=True) + "\n"


def main() -> None:
    SNAPSHOT.write_text(current_document())
    print(f"{SNAPSHOT.name}: {len(json.loads(SNAPSHOT.read_text())['paths'])} paths")


if __name__ == "__main__":
    main()
