"""What a purchase, a refused purchase and a refund cost: counted, not timed, except for the CPU time."""

from collections.abc import Awaitable, Callable
from dataclasses import asdict, dataclass
from pathlib import Path

from rich.table import Table

from benchmarks.history_cost import HistoryCost
from benchmarks.load import run
from benchmarks.product import TOO_EXPENSIVE, BenchShop, Product
from benchmarks.statement_log import StatementLog, statement_log
from domain.ids import purchase_workflow_id, refund_workflow_id

CUSTOMERS = 100
REPETITIONS = 5


@dataclass(frozen=True, kw_only=True)
class CostPlan:
    """Purchases of the measurement of CPU time."""

    purchases: int = 320
    in_flight: int = 32


@dataclass(frozen=True, kw_only=True)
class OperationCost:
    """What one operation costs. `history_bytes`: of its workflow. `actions`: as Temporal Cloud bills them."""

    statements: int
    transactions: int
    vendor_calls: int
    events: int
    history_bytes: int
    workflow_tasks: int
    actions: int


@dataclass(frozen=True, kw_only=True)
class Costs:
    """Cost by operation, and milliseconds of CPU time per purchase under load by process."""

    operations: dict[str, OperationCost]
    cpu: dict[str, float]


async def measure(home: Path, plan: CostPlan, show: Callable[[str], None]) -> Costs:
    """Measure CPU time under load, then each operation alone."""
    async with Product.running(home) as product:
        shop = await product.open_shop("cost", customers=CUSTOMERS)
        # Opens the database connections.
        await run(shop, count=plan.in_flight * 2, in_flight=plan.in_flight)
        show("cost: CPU time")
        cpu = await _cpu(shop, plan)
        show("cost: statements and events")
        log_file = product.stack.log("postgres")
        async with statement_log(product.stack.database_url, log_file) as log:
            meter = _Meter(shop, log)
            operations = {
                "purchase": await meter.cheapest(meter.purchase),
                "refused purchase": await meter.cheapest(meter.refused_purchase),
                "refund": await meter.cheapest(meter.refund),
            }
        return Costs(operations=operations, cpu=cpu)


async def _cpu(shop: BenchShop, plan: CostPlan) -> dict[str, float]:
    before = shop.product.cpu_seconds()
    await run(shop, count=plan.purchases, in_flight=plan.in_flight)
    after = shop.product.cpu_seconds()
    return {name: round((after[name] - before[name]) * 1000 / plan.purchases, 1) for name in after}


class _Meter:
    """Performs operations and counts. Each operation returns the id of its workflow."""

    def __init__(self, shop: BenchShop, log: StatementLog) -> None:
        self._shop = shop
        self._product = shop.product
        self._log = log
        self._bought: list[str] = []
        self._refused: set[str] = set()

    async def cheapest(self, operation: Callable[[], Awaitable[str]]) -> OperationCost:
        """The cheapest of some repetitions: a new database connection, for example, adds statements to one of them."""
        costs = [await self._cost(operation) for _ in range(REPETITIONS)]
        return min(costs, key=lambda cost: (cost.statements, cost.events))

    async def purchase(self) -> str:
        answer = (await self._shop.try_to_purchase()).raise_for_status()
        self._bought.append(answer.json()["data"]["id"])
        return purchase_workflow_id(self._bought[-1], 1)

    async def refused_purchase(self) -> str:
        answer = await self._shop.try_to_purchase(TOO_EXPENSIVE)
        assert answer.is_client_error, answer.text
        while True:  # Temporal lists a workflow some time after its start
            async for one in self._product.temporal.list_workflows(f"RewardId = '{TOO_EXPENSIVE}'"):
                if one.id not in self._refused:
                    self._refused.add(one.id)
                    return one.id

    async def refund(self) -> str:
        redemption = self._bought.pop()
        await self._shop.refund(redemption)
        return refund_workflow_id(redemption)

    async def _cost(self, operation: Callable[[], Awaitable[str]]) -> OperationCost:
        calls = await self._product.vendor_calls()
        self._log.restart()
        handle = self._product.temporal.get_workflow_handle(await operation())
        await handle.result()
        database = self._log.read()
        history = HistoryCost.of(await handle.fetch_history())
        return OperationCost(
            statements=database.statements,
            transactions=database.transactions,
            vendor_calls=sum((await self._product.vendor_calls()).values()) - sum(calls.values()),
            events=history.events,
            history_bytes=history.size,
            workflow_tasks=history.workflow_tasks,
            actions=history.actions,
        )


def tables(costs: Costs) -> list[Table]:
    """One table of the operations, one of the CPU time."""
    operations = Table("", *costs.operations, title="Cost of an operation")
    counts = [asdict(cost) for cost in costs.operations.values()]
    for name in counts[0]:
        operations.add_row(name.replace("_", " "), *(str(count[name]) for count in counts))
    cpu = Table(*costs.cpu, title="CPU time per purchase, in ms")
    cpu.add_row(*(str(value) for value in costs.cpu.values()))
    return [operations, cpu]
