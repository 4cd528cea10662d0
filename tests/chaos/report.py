"""Report of the run: a table, the violations, and everything that is known about the first one."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from rich.console import Console
from rich.table import Table
from rich.text import Text
from sqlalchemy import String, text
from sqlalchemy.ext.asyncio import AsyncSession

from db.tables import Base, LedgerEntry, PointLot
from tests.chaos.checks import QUIET_INVARIANTS, calm_answers
from tests.chaos.evidence import ChaosEvidence
from tests.chaos.log import RunLog
from tests.chaos.requests import AnyRequest, http_request, subject_of
from tests.chaos.shop import ChaosShop
from tests.invariants import Violation

MAX_LISTED = 25
OF_CUSTOMER = (PointLot.__table__, LedgerEntry.__table__)
"""Tables whose rows are shown for a customer."""


def summary(evidence: ChaosEvidence, log: RunLog, met: Counter[str], found: Sequence[Violation]) -> Table:
    """Numbers of everything that happened. `met`: requests that met a fault."""
    broken = Counter(violation.invariant for violation in found)
    sent = sum(len(request.answers) for request in evidence.requests)
    table = Table("what", "which", "number", title=f"{len(evidence.purchases)} purchases, {sent} requests")
    for what, requests in vars(evidence.requests).items():
        answers = Counter(str(answer) for request in requests for answer in request.answers)
        _add_section(table, f"answers to {what}", answers)
    ledger, rows = evidence.ledger, [evidence.row_of(purchase) for purchase in evidence.purchases]
    workflows = Counter(f"{one.partition('-')[0]} {status}" for one, status in evidence.workflows.items())
    deliveries = Counter(f"{one.channel} {one.event} {one.status}" for one in ledger.deliveries)
    _add_section(table, "processes killed", log.kills)
    _add_section(table, "requests with a fault", met)
    _add_section(table, "operators' actions", log.actions)
    _add_section(table, "redemptions", Counter(str(row or "none: nothing was reserved") for row in rows))
    _add_section(table, "workflows", workflows)
    _add_section(table, "codes", Counter(code.state for code in ledger.discount_codes))
    _add_section(table, "ledger entries", Counter(entry.kind for entry in ledger.ledger_entries))
    _add_section(table, "deliveries", deliveries)
    _add_section(table, "webhooks, by subscriber", Counter(one.condition for one in evidence.webhooks))
    _add_section(table, "violations", {invariant: broken[invariant] for invariant in QUIET_INVARIANTS})
    return table


def quiet_summary(evidence: ChaosEvidence) -> str:
    """How fast the quiet shop's purchases were answered while all processes ran."""
    seconds = sorted((answer.ended - answer.began).total_seconds() for _, answer in calm_answers(evidence))
    if not seconds:
        return f"quiet shop: {len(evidence.purchases)} purchases, none while all processes ran"
    middle, slow = seconds[len(seconds) // 2], seconds[int(len(seconds) * 0.95)]
    times = f"median {middle:.2f} s, p95 {slow:.2f} s, longest {seconds[-1]:.2f} s"
    return f"quiet shop: {len(evidence.purchases)} purchases; {len(seconds)} answers while all processes ran: {times}"


def print_violations(console: Console, found: Sequence[Violation], traces: Mapping[str, Sequence[str]]) -> None:
    """One line for each violation, and the trace of the first one."""
    for violation in found[:MAX_LISTED]:
        line = Text.assemble((violation.invariant, "bold red"), f"  {violation.subject}  {violation.detail}")
        console.print(line, soft_wrap=True)
    if len(found) > MAX_LISTED:
        console.print(f"... and {len(found) - MAX_LISTED} more")
    if found:
        console.print("\nEverything that is known about the first one:", style="bold")
        for line in traces[found[0].subject]:
            console.print(Text(f"  {line}"), soft_wrap=True)


def write_violations(path: Path, log: RunLog, found: Sequence[Violation], traces: Mapping[str, Sequence[str]]) -> None:
    """Write the violations, their traces, and the log."""
    parts = ["\n".join(map(str, found)), *("\n".join(lines) for lines in traces.values()), "\n".join(log.lines)]
    path.write_text("\n\n".join(parts) + "\n")


async def trace(session: AsyncSession, evidence: ChaosEvidence, log: RunLog, subject: str) -> list[str]:
    """Everything that is known about a redemption, about the request with this key, or about a customer."""
    names = {subject, evidence.redemption_ids.get(subject, subject)}
    purchases = [evidence.purchase_of.get(name) for name in names]
    requests = [one for one in evidence.requests if one in purchases or subject_of(one) in names]

    def is_named(text: str) -> bool:
        return any(name in text for name in names)

    return [
        f"about {subject}",
        *(line for request in requests for line in _answers(request, evidence.shop)),
        *await _rows(session, names),
        *_received(evidence, names),
        *(f"workflow {one}: {status}" for one, status in evidence.workflows.items() if is_named(one)),
        *(f"log      {line}" for line in log.lines if is_named(line) or _is_near(requests, line)),
    ]


def _answers(request: AnyRequest, shop: ChaosShop) -> Iterator[str]:
    path, _, body = http_request(request, shop)
    yield f"{type(request).__name__.lower():<8} {subject_of(request)}: {path} {body.decode()}"
    for one in (*request.answers, *request.late_answers):
        yield f"answer   {one.began:%H:%M:%S.%f} to {one.ended:%H:%M:%S.%f} {one.api}: {one}  {one.text[:300]}"


async def _rows(session: AsyncSession, names: set[str]) -> list[str]:
    """Rows of any table with one of these names in an id column."""
    lines: list[str] = []
    for table in Base.metadata.sorted_tables:
        ids = {"id", "key", "redemption_id", *(["customer_id"] if table in OF_CUSTOMER else [])}
        columns = [column.name for column in table.columns if column.name in ids and isinstance(column.type, String)]
        if columns:
            conditions = " OR ".join(f"{column} = ANY(:names)" for column in columns)
            query = text(f"SELECT to_jsonb(t) FROM {table.name} t WHERE {conditions}")
            for row in await session.scalars(query, {"names": list(names)}):
                values = (f"{name}={value}" for name, value in row.items() if value is not None)
                lines.append(f"{table.name}: {', '.join(values)}")
    return lines


def _received(evidence: ChaosEvidence, names: set[str]) -> Iterator[str]:
    """What Shopify, the marketing vendors and the subscriber have of the redemption's codes."""
    codes = {code.code for code in evidence.ledger.discount_codes if code.redemption_id in names}
    for one in evidence.discounts:
        if one["code"] in codes or not names.isdisjoint(one["tags"]):
            used = f"used {one['uses']} times, ends {one['ends_at']}"
            yield f"shopify  {one['status']} {one['code']} for {one['customers']}, {one['tags']}, {used}"
    for channel, arrived in evidence.arrivals.items():
        for event, times in Counter((one.code, one.event) for one in arrived if one.code in codes).items():
            yield f"{channel:<8} {event[1]} of {event[0]}, {times} times"
    for one in evidence.webhooks:
        if one.code in codes:
            yield f"webhook  {one.at:%H:%M:%S.%f} {one.event} as {one.id}, subscriber {one.condition}"


def _is_near(requests: Sequence[AnyRequest], line: str) -> bool:
    """Whether the line is about a death or a fault of Shopify during one of the requests."""
    if "killed" not in line and "shopify" not in line:
        return False
    answered = [request.answers for request in requests if request.answers]
    times = [(min(one.began for one in answers), max(one.ended for one in answers)) for answers in answered]
    return any(f"{began:%H:%M:%S}" <= line[:8] <= f"{ended:%H:%M:%S}" for began, ended in times)


def _add_section(table: Table, what: str, numbers: Mapping[str, int]) -> None:
    for position, (which, number) in enumerate(sorted(numbers.items())):
        style = "bold red" if what == "violations" and number else ""
        table.add_row("" if position else what, which, str(number), style=style)
    table.add_section()
