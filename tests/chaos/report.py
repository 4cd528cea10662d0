"""What the run has to say at its end: one table, and the trace of the first thing that must not be."""

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

from rich.console import Console
from rich.table import Table
from rich.text import Text

from db.tables import Redemption
from tests.chaos.checks import RULES, Violation
from tests.chaos.evidence import Evidence
from tests.chaos.records import Tally
from tests.chaos.trace import trace

LISTED = 25


def summary(evidence: Evidence, tally: Tally, struck: Counter[str], found: Sequence[Violation]) -> Table:
    """Everything that happened, in numbers."""
    broken = Counter(violation.rule for violation in found)
    requests = sum(len(wish.answers) for wish in evidence.wishes)
    table = Table("what", "which", "number", title=f"{len(evidence.wishes.purchases)} purchases, {requests} requests")
    for what, wishes in vars(evidence.wishes).items():
        _section(table, f"answers to {what}", Counter(answer.word for wish in wishes for answer in wish.answers))
    _section(table, "parts killed", tally.kills)
    _section(table, "faults struck", struck)
    _section(table, "operators' acts", tally.acts)
    _section(table, "redemptions", _ends(evidence))
    _section(table, "workflows", Counter(f"{run.partition('-')[0]} {how}" for run, how in evidence.runs.items()))
    _section(table, "codes", Counter(code.state for code in evidence.codes))
    _section(table, "points moved", Counter(entry.kind for entry in evidence.entries))
    _section(table, "deliveries", Counter(f"{one.channel} {one.event} {one.status}" for one in evidence.deliveries))
    _section(table, "webhooks heard while", Counter(one.mood for one in evidence.heard))
    _section(table, "violations", {rule: broken[rule] for rule in RULES})
    return table


def tell(console: Console, evidence: Evidence, tally: Tally, found: Sequence[Violation]) -> None:
    """Every violation in a line, and all that is known about the first."""
    for violation in found[:LISTED]:
        line = Text.assemble((violation.rule, "bold red"), f"  {violation.about}  {violation.detail}")
        console.print(line, soft_wrap=True)
    if len(found) > LISTED:
        console.print(f"... and {len(found) - LISTED} more")
    if found:
        console.print("\nThe first one, with everything that is known about it:", style="bold")
        for line in trace(evidence, tally, found[0].about):
            console.print(Text(f"  {line}"), soft_wrap=True)


def keep(path: Path, evidence: Evidence, tally: Tally, found: Sequence[Violation]) -> None:
    """The traces of all violations, and the diary, beside the logs."""
    about = {one.about: "\n".join(trace(evidence, tally, one.about)) for one in found}
    said = (f"{one.rule}  {one.about}  {one.detail}" for one in found)
    path.write_text("\n\n".join(["\n".join(said), *about.values(), "\n".join(["diary", *tally.diary, ""])]))


def _section(table: Table, what: str, numbers: Mapping[str, int]) -> None:
    for number, (which, count) in enumerate(sorted(numbers.items())):
        style = "bold red" if what == "violations" and count else ""
        table.add_row("" if number else what, which, str(count), style=style)
    table.add_section()


def _ends(evidence: Evidence) -> Counter[str]:
    rows = [evidence.row_of(purchase) for purchase in evidence.wishes.purchases]
    return Counter(_end(row) if row else "none: nothing was reserved" for row in rows)


def _end(row: Redemption) -> str:
    return f"{row.status}, refunded" if row.is_refunded else row.status
