"""The contract against a running stack: generated requests, and a generated client"""

import asyncio
import importlib
import json
import os
import re
import sys
import tomllib
from collections.abc import AsyncGenerator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from sqlalchemy import func, select

from database import Sessions, connect
from db.tables import ActivityLog
from local_stack.options import StackOptions
from local_stack.stack import LocalStack
from settings import connect_temporal
from tests.builders import a_customer, a_lot, a_reward, a_shop
from tests.service import Service
from tests.shop import Shop
from tests.stacks import client_of, settings_of

ROOT = Path(__file__).parents[2]
CONFIG = Path(__file__).with_name("schemathesis.toml")
KNOWN_IDS = {name: one["values"] for name, one in tomllib.loads(CONFIG.read_text())["dictionaries"].items()}
# What other keys get 403 for.
ADMINISTRATION = ("add_reward", "update_reward", "remove_reward", "write_customer", "write_customers", "update_shop")
WITHOUT_SEQUENCES = "--phases=examples,coverage,fuzzing"
SECRET = "what-shopify-signs-with"
# Compiles less: the program runs for two seconds.
QUICK_JAVA = "-XX:TieredStopAtLevel=1 -XX:+UseSerialGC"


@pytest.fixture(scope="module")
async def stack(tmp_path_factory: pytest.TempPathFactory) -> AsyncGenerator[LocalStack]:
    """The local stack with the demo shop. The document's examples have its ids."""
    env = {"RATE_LIMIT": "100000/second", "LOG_LEVEL": "WARNING", "SHOPIFY_WEBHOOK_SECRETS": SECRET}
    async with LocalStack(StackOptions.on_free_ports(tmp_path_factory.mktemp("contract"), env=env)) as stack:
        yield stack


@pytest.fixture
async def service(stack: LocalStack) -> AsyncGenerator[Service]:
    settings = settings_of(stack)
    engine, temporal = connect(settings.database_url), await connect_temporal(settings)
    async with client_of(stack.api_url) as api, client_of(stack.vendor_url) as vendors:
        yield Service(
            settings=settings,
            store=Sessions(engine),
            temporal=temporal,
            api=api,
            vendors=vendors,
            worker_http=vendors,
        )
    await engine.dispose()


@pytest.fixture
async def shop(service: Service) -> Shop:
    return await service.open_shop(a_shop(a_customer(a_lot(300, days_old=20), a_lot(400))))


@pytest.fixture
async def administrated(service: Service) -> Shop:
    """A shop of its own, with the ids of the demo shop that requests name."""
    known = KNOWN_IDS["customers"]
    customers = [a_customer(customer_id=one) if one.isdigit() else a_customer(email=one) for one in known]
    return await service.open_shop(a_shop(*customers, rewards=[a_reward(one) for one in KNOWN_IDS["rewards"]]))


async def test_responses_match_the_document(
    stack: LocalStack, administrated: Shop, tmp_path: Path, pytestconfig: pytest.Config
) -> None:
    seed = str(pytestconfig.getoption("hypothesis_seed"))
    administration = [f"--include-operation-id={one}" for one in ADMINISTRATION]

    results = await asyncio.gather(
        _test_operations(stack, tmp_path, "demo-full-key", seed),
        _test_operations(stack, tmp_path, "demo-read-key", seed, WITHOUT_SEQUENCES),
        _test_operations(stack, tmp_path, administrated.admin_key, seed, WITHOUT_SEQUENCES, *administration),
    )

    for status, output in results:
        assert status == 0, output
    cases = [int(number) for _, output in results for number in re.findall(r"(\d+) generated", output)]
    assert sum(cases) >= 2000, cases
    assert await _changes(administrated) > 5
    await stack.run("audit", sys.executable, "-m", "cli", "audit", "--ledger-only")


async def _changes(shop: Shop) -> int:
    """How many entries the shop's API keys have in its activity log."""
    mine = (ActivityLog.shop_id == (await shop.row()).id, ActivityLog.facts["actor"].astext.startswith("API key "))
    async with shop.service.store() as session:
        return (await session.execute(select(func.count()).select_from(ActivityLog).where(*mine))).scalar_one()


async def _test_operations(stack: LocalStack, home: Path, key: str, seed: str, *options: str) -> tuple[int, str]:
    """Send valid and invalid requests to every operation."""
    run = ("run", f"{stack.api_url}/openapi.json", f"--header=Authorization: {key}", f"--seed={seed}", *options)
    return await _program("schemathesis", f"--config-file={CONFIG}", *run, cwd=home)


async def test_a_generated_client_purchases_and_refunds(
    stack: LocalStack, shop: Shop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = await _generated(stack, tmp_path, monkeypatch)

    await asyncio.to_thread(_purchase_and_refund, client, stack.api_url, shop)

    assert await shop.lots() == [300, 400]
    assert await shop.discounts("live") == []


async def _generated(stack: LocalStack, home: Path, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    target = ("-g", "python", "-o", str(home), "--package-name", "generated_client")
    status, output = await _program(
        "openapi-generator-cli", "generate", "-i", f"{stack.api_url}/openapi.json", *target, cwd=home
    )
    assert status == 0, output
    monkeypatch.setattr(sys, "path", [str(home), *sys.path])
    return importlib.import_module("generated_client")


def _purchase_and_refund(client: Any, url: str, shop: Shop) -> None:
    configuration = client.Configuration(host=url, api_key={"ApiKey": shop.full_key})
    with client.ApiClient(configuration) as connection:
        rewards, history = client.RewardsApi(connection), client.RewardHistoryApi(connection)
        [reward] = rewards.list_rewards(filter_is_active=True).data
        order = client.PurchaseRequest(customer_identifier=shop.customers[0])

        purchased = rewards.purchase_reward_with_http_info(reward.id, order, idempotency_key="order-17")
        [listed] = history.list_reward_history(shop.customers[0], filter_status="active").data
        refunded = history.refund_reward_history_entry(listed.id, client.RefundRequest(reason="cancelled"))
        receipt = history.retrieve_receipt(listed.id).data

        assert (purchased.status_code, purchased.headers["idempotency-key"]) == (201, "order-17")
        assert listed == purchased.data.data
        assert (refunded.data.attributes.is_refunded, refunded.meta.code_removed) == (True, True)
        assert [(lot.points, lot.id == receipt.attributes.lots[0].id) for lot in receipt.attributes.lots] == [
            (300, True),
            (200, False),
        ]
        assert [one.kind for one in receipt.attributes.reversals] == ["refund"]
        with pytest.raises(client.exceptions.NotFoundException) as unknown:
            rewards.retrieve_reward("unknown")
        assert json.loads(unknown.value.body)["errors"][0]["code"] == "reward_not_found"


async def _program(name: str, *arguments: str, cwd: Path) -> tuple[int, str]:
    """Run a program of the virtual environment; returns exit status and output."""
    process = await asyncio.create_subprocess_exec(
        str(Path(sys.executable).with_name(name)),
        *arguments,
        cwd=cwd,
        env={**os.environ, "PYTHONPATH": str(ROOT), "SHOPIFY_WEBHOOK_SECRETS": SECRET, "JAVA_TOOL_OPTIONS": QUICK_JAVA},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    output, _ = await process.communicate()
    assert process.returncode is not None
    return process.returncode, output.decode()
