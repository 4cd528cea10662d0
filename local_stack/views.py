"""Lists of workflows that operators open often, as links into the Temporal UI. docs/searches.md has them too."""

from urllib.parse import quote

VIEWS = {
    "operator needed": 'RedemptionStage="NeedsAttention" AND ExecutionStatus="Running"',
    "not purchased, code not yet void": 'RedemptionStage="Compensating" AND ExecutionStatus="Running"',
    "deliveries retried": 'RedemptionStage="Delivering" AND ExecutionStatus="Running"',
    "bug in workflow code": 'TemporalReportedProblems IS NOT NULL AND ExecutionStatus="Running"',
    "cancelled, terminated, timed out": (
        'WorkflowType="RedeemReward" AND ExecutionStatus IN ("Canceled","Terminated","TimedOut")'
    ),
}
"""Name → search."""


def view_url(ui: str, query: str) -> str:
    """The list of workflows that the search finds. `ui`: address of the Temporal UI."""
    return f"{ui}/namespaces/default/workflows?query={quote(query, safe='')}"
