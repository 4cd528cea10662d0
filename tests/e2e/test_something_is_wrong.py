"""The first page of docs/operations.md: `status` sees each situation, its command settles it, and it is gone.

The tenth situation, a frozen worker, is in `test_status`.
"""

import asyncio
import shlex
import signal
from collections.abc import AsyncGenerator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from cryptography.fernet import Fernet

from local_stack.options import process_environment
from local_stack.parts import worker as worker_part
from local_stack.stack import LocalStack
from tests.builders import Json, a_customer, a_lot, a_shop
from tests.changed_code import copy_workflows, edit
from tests.commands.conftest import CommandLine
from tests.e2e.deployment import COST, Deployment, Program
from tests.faults import OperatorAction, VendorFault, end_workflow
from tests.shop import Shop
from tests.waiting import A_PROGRAM, wait_until

SEEN_WITHIN_SECONDS = 30
"""Promised by docs/operations.md."""


@dataclass(frozen=True)
class Operator:
    """A person at a terminal. `changes`: settings that differ from those of the stack."""

    deployment: Deployment
    changes: Mapping[str, str] = field(default_factory=dict[str, str])

    @property
    def pointsaga(self) -> CommandLine:
        return CommandLine({**self.deployment.stack.env, **self.changes})

    async def findings(self, shop: Shop | None = None) -> list[Json]:
        """What `status` finds in this shop. Without one: what prevents purchases in all. Other tests leave findings."""
        run = await self.pointsaga.run("status", "--json")
        found = run.json["findings"]
        if shop is None:
            found = [one for one in found if one["shop"] is None and one["blocks_purchases"]]
            assert run.status == (1 if found else run.status)
        else:
            found = [one for one in found if one["shop"] == shop.domain]
        return found

    async def sees(self, words: str, shop: Shop | None = None) -> Json:
        """Wait until `status` shows a finding with these words. Returns it."""
        found: list[Json] = []

        async def is_shown() -> bool:
            found[:] = [one for one in await self.findings(shop) if words in one["what"]]
            return bool(found)

        await wait_until(is_shown, seconds=SEEN_WITHIN_SECONDS, every=A_PROGRAM)
        return found[0]

    async def sees_nothing(self, shop: Shop | None = None) -> None:
        """Wait until `status` shows nothing."""

        async def is_clean() -> bool:
            return await self.findings(shop) == []

        await wait_until(is_clean, every=A_PROGRAM)

    async def types(self, command: str, *more: str, stdin: str | None = None) -> None:
        """Run a command that a finding shows."""
        program, *words = shlex.split(command)
        assert program == "pointsaga"
        await self.pointsaga(*words, *more, stdin=stdin)


@pytest.fixture
def operator(deployment: Deployment) -> Operator:
    return Operator(deployment)


async def open_shop(deployment: Deployment, *, key: str) -> Shop:
    """A shop whose customer can purchase twice. `key`: its API key at Klaviyo."""
    return await deployment.open_shop(a_shop(a_customer(a_lot(2 * COST)), klaviyo={"api_key": key}))


async def test_there_is_no_worker(deployment: Deployment, operator: Operator) -> None:
    await deployment.workers_are_gone()

    finding = await operator.sees("no worker")

    assert finding["command"].endswith("python -m worker")
    await deployment.start_worker()
    await operator.sees_nothing()


async def test_the_encryption_key_is_wrong(deployment: Deployment) -> None:
    # A finding of several shops names none.
    await open_shop(deployment, key="pk_other")
    shop, wrong = await open_shop(deployment, key="pk_sealed"), Fernet.generate_key().decode()
    worker = await deployment.start_worker({"ENCRYPTION_KEYS": wrong})
    assert (await shop.purchase()).status_code == 503

    finding = await Operator(deployment, {"ENCRYPTION_KEYS": wrong}).sees("none of ENCRYPTION_KEYS decrypts")

    assert "add the key that encrypted them to ENCRYPTION_KEYS" in finding["command"]
    await worker.end(signal.SIGTERM)
    both = {"ENCRYPTION_KEYS": f"{wrong},{deployment.stack.env['ENCRYPTION_KEYS']}"}
    await deployment.start_worker(both)
    assert (await shop.purchase()).status_code == 201
    await Operator(deployment, both).sees_nothing()
    await Operator(deployment, both).sees_nothing(shop)
    # An open workflow would go on in the next test's worker.
    await deployment.ended(shop, purchases=2)


async def test_a_release_is_bad(deployment: Deployment, operator: Operator, tmp_path: Path) -> None:
    bad = copy_workflows(tmp_path / "workflows")
    first = "        async with self._saga as saga:"
    edit(bad / "redeem_reward.py", first, f"        raise RuntimeError('a bug')\n{first}")
    shop = await open_shop(deployment, key="pk_bug")
    purchase = asyncio.ensure_future(shop.purchase())
    worker = await deployment.start_worker(code=str(tmp_path))

    finding = await operator.sees("workflow failing (1): WorkflowTaskFailed")

    assert finding["command"].startswith("deploy a fix")
    await worker.end(signal.SIGTERM)
    await deployment.start_worker()
    await operator.sees_nothing()
    # In time or not: the workflow has continued.
    assert (await purchase).status_code in (201, 503)
    assert (await shop.purchase()).status_code == 201


@pytest.fixture(scope="module")
async def worker(stack: LocalStack, tmp_path_factory: pytest.TempPathFactory) -> AsyncGenerator[None]:
    """One worker for the tests below."""
    home = tmp_path_factory.mktemp("worker")
    async with Program.running(worker_part(home, process_environment(stack.env)), home) as program:
        yield
        await program.end(signal.SIGTERM)


@pytest.mark.usefixtures("worker")
async def test_a_vendor_rejects_a_key(deployment: Deployment, operator: Operator) -> None:
    shop = await open_shop(deployment, key="pk_dead")
    await deployment.inject("klaviyo", VendorFault.UNAUTHORIZED, account="pk_dead", times=None)
    assert (await shop.purchase()).status_code == 201

    finding = await operator.sees("deliveries were rejected by klaviyo (1): HTTP 401", shop)

    set_key, redrive = finding["command"].split(", then ")
    await operator.types(set_key, stdin="pk_alive")

    async def is_settled() -> bool:
        # Temporal's search, which `redrive` uses, lags a little.
        await operator.types(redrive, "--yes")
        return await operator.findings(shop) == []

    await wait_until(is_settled)
    assert (await shop.deliveries())["klaviyo"] == "sent"


@pytest.mark.usefixtures("worker")
async def test_shopify_rejects_the_token(deployment: Deployment, operator: Operator) -> None:
    shop = await open_shop(deployment, key="pk_token")
    await deployment.inject("shopify", VendorFault.UNAUTHORIZED, account=shop.domain, times=None)
    assert (await shop.purchase()).status_code == 503

    finding = await operator.sees("purchases fail (1): Shopify: HTTP 401", shop)

    assert finding["blocks_purchases"]
    await deployment.clear_faults("shopify")
    await operator.types(finding["command"], stdin="shpat_alive")
    await operator.sees_nothing(shop)
    assert (await shop.purchase()).status_code == 201


@pytest.mark.usefixtures("worker")
async def test_shopify_is_down_and_another_vendor_hangs(deployment: Deployment, operator: Operator) -> None:
    without_shopify, hanging = await open_shop(deployment, key="pk_up"), await open_shop(deployment, key="pk_hanging")
    await deployment.inject("shopify", VendorFault.DOWN, account=without_shopify.domain)
    await deployment.inject("klaviyo", VendorFault.HANGING, account="pk_hanging", times=None)
    # Both take ten seconds: the purchase until its deadline, the call until it is cut.
    answers = await asyncio.gather(without_shopify.purchase(), hanging.purchase())
    assert [one.status_code for one in answers] == [503, 201]

    down = await operator.sees("purchases fail (1): Shopify: ", without_shopify)
    slow = await operator.sees("deliveries to klaviyo are retried (1): no complete response within 10 s", hanging)

    assert down["blocks_purchases"]
    assert not slow["blocks_purchases"]
    assert down["command"].startswith("wait for Shopify")
    assert slow["command"].startswith("wait, ")
    await deployment.heal_all()
    assert (await without_shopify.purchase()).status_code == 201
    await operator.sees_nothing(without_shopify)
    await operator.sees_nothing(hanging)


@pytest.mark.usefixtures("worker")
async def test_a_workflow_was_terminated(deployment: Deployment, operator: Operator) -> None:
    shop = await open_shop(deployment, key="pk_down")
    await deployment.inject("klaviyo", VendorFault.DOWN, account="pk_down")
    redemption = (await shop.purchase()).json()["data"]["id"]
    await end_workflow(deployment.purchase_workflow(redemption), OperatorAction.TERMINATE)

    finding = await operator.sees("the workflow is terminated", shop)

    assert finding["what"].startswith("run gone (1): ")
    await deployment.clear_faults("klaviyo")
    await operator.types("pointsaga " + finding["command"].partition("pointsaga ")[2], "--yes")
    await operator.sees_nothing(shop)
    assert set((await shop.deliveries()).values()) == {"sent"}


@pytest.mark.usefixtures("worker")
async def test_the_database_is_away(deployment: Deployment, operator: Operator) -> None:
    # Frozen, as the stack would restart it at once.
    deployment.signal("postgres", signal.SIGSTOP)

    finding = await operator.sees("the database does not answer")

    assert finding["command"].startswith("check PostgreSQL")
    deployment.kill("postgres")
    await operator.sees_nothing()
