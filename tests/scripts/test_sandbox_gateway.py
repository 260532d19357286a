"""The sandbox gateway as a program: beside a running Agora, through restarts, and back with its webhooks."""

import json
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx2
import pymongo
import pytest
from bson import ObjectId

from scripts.sandbox.books import Books
from scripts.sandbox.process import kept_secret, kept_url
from tests.races import patiently
from tests.scripts.processes import ROOT, Agora, environment, wait_until


def test_beside_agora_takes_play_money_and_tells_by_webhook(tmp_path: Path) -> None:
    """`make run` alone is enough to pay; a payment left open is settled, and the sandbox ends with Agora and keeps its books."""
    with Agora(tmp_path / "data").ready() as agora:
        _pay(agora)


def _pay(agora: Agora) -> None:
    url = kept_url(agora.folder)
    assert url is not None
    key, asked = ObjectId(), datetime.now(UTC)
    terms = {"subject": "order:1", "key": str(key), "amount": {"amount": 4990, "currency": "USD"}, "method": "card"}
    row = {"_id": key, **terms, "gateway": "sandbox", "state": "processing", "asked_at": asked, "sent_count": 1}
    with pymongo.MongoClient[dict[str, Any]](agora.database_uri) as database:
        database.agora.payments.insert_one(row)

        charge = {"key": str(key), "amount": 4990, "currency": "USD", "method": "card", "token": "tok_ok", "capture": True}
        headers = {"authorization": f"Bearer {kept_secret(agora.folder)}", "idempotency-key": str(key)}
        with httpx2.Client(base_url=url, headers=headers, timeout=patiently(3)) as sandbox:
            assert sandbox.post("/v1/payments", json=charge).json()["state"] == "captured"

            def state() -> str:
                found = database.agora.payments.find_one({"_id": key})
                return str(found["state"]) if found else ""

            assert wait_until(lambda: state() == "captured", patiently(10))
    assert agora.stop() == 0
    with pytest.raises(httpx2.ConnectError):
        httpx2.get(url)
    assert Books(agora.folder / "sandbox.jsonl").shown()["taken"] == 4990


def test_alone_it_says_where_it_listens(tmp_path: Path) -> None:
    process = subprocess.Popen(
        [sys.executable, "-m", "scripts.sandbox.gateway", "--books", str(tmp_path / "books")],
        env=environment(tmp_path, AGORA_SANDBOX_GATEWAY_SECRET="whsec_c2VjcmV0"),
        cwd=ROOT,
        stdout=subprocess.PIPE,
        text=True,
    )
    with process:
        try:
            assert process.stdout is not None
            url = f"http://{process.stdout.readline().removeprefix('listening on ').strip()}"
            shown = httpx2.get(url, timeout=patiently(3)).json()
            assert (shown["taken"], shown["payments"]) == (0, [])
            assert "tok_timeout_after" in shown["tokens"]
            assert "whsec_" not in json.dumps(shown)
            assert httpx2.get(f"{url}/v1/report", timeout=patiently(3)).status_code == 401
            process.terminate()
            assert process.wait(patiently(3)) in (0, -15)
        finally:
            process.kill()
