"""Rules of the layout that import-linter cannot express."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[1]
PRODUCTION = ("activities", "api", "clients", "commands", "db", "services", "workflows")
STATE_NAME = re.compile(r"(^|_)(status|state|kind)$")
SQL_COMPARISON = re.compile(r"\b(status|state|kind)\s*(=|<>|!=|\bIN\b)\s*\(?\s*'\w", re.IGNORECASE)

NOT_DETERMINISTIC = re.compile(
    r"^(random|time|os|sys|uuid|secrets|socket|threading|subprocess|pathlib|httpx|io|logging|structlog)(\.|$)"
    r"|^(open|print|input|id|hash|set_event_loop)$|\b(date|datetime)\.(now|utcnow|today)$"
)


def test_only_the_domain_compares_states_with_literals() -> None:
    assert [found for path in _modules(*PRODUCTION) for found in _literal_comparisons(path)] == []


def test_queries_open_and_commit_no_session() -> None:
    opening = re.compile(r"\bcommit\b|\bbegin\b|sessionmaker|\bSessions\b")

    assert [str(path) for path in _modules("db") if opening.search(_code(path))] == []


def test_workflows_do_not_use_the_temporal_client() -> None:
    assert [str(path) for path in _modules("workflows") if "temporalio.client" in path.read_text()] == []


def test_workflows_use_nothing_that_is_not_deterministic() -> None:
    """Workflows run without the sandbox: docs/decisions/0042."""
    assert [found for path in _modules("workflows") for found in _not_deterministic(path)] == []


def _not_deterministic(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text())):
        match node:
            case ast.Import():
                names = [one.name for one in node.names]
            case ast.ImportFrom():
                names = [node.module or ""]
            case ast.Call():
                names = [ast.unparse(node.func)]
            case _:
                continue
        yield from (f"{path}:{node.lineno} {name}" for name in names if NOT_DETERMINISTIC.search(name))


def _modules(*packages: str) -> list[Path]:
    found = [path for package in packages for path in (ROOT / package).rglob("*.py")]
    return [path.relative_to(ROOT) for path in found if "versions" not in path.parts]


def _code(path: Path) -> str:
    """The module without docstrings and comments."""
    return ast.unparse(_without_docstrings(ast.parse(path.read_text())))


def _without_docstrings(tree: ast.Module) -> ast.Module:
    for node in ast.walk(tree):
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
            node.value.value = ""
    return tree


def _literal_comparisons(path: Path) -> Iterator[str]:
    for node in ast.walk(_without_docstrings(ast.parse(path.read_text()))):
        operands: list[ast.expr] = []
        if isinstance(node, ast.Compare):
            operands = [node.left, *node.comparators]
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "in_":
            operands = [node.func.value, *node.args]
        is_comparison = any(map(_is_state, operands)) and any(map(_is_literal, operands))
        if isinstance(node, ast.expr) and (is_comparison or _compares_in_sql(node)):
            yield f"{path}:{node.lineno}"


def _compares_in_sql(node: ast.expr) -> bool:
    return isinstance(node, ast.Constant) and isinstance(node.value, str) and bool(SQL_COMPARISON.search(node.value))


def _is_state(node: ast.expr) -> bool:
    name = node.attr if isinstance(node, ast.Attribute) else node.id if isinstance(node, ast.Name) else ""
    return STATE_NAME.search(name) is not None


def _is_literal(node: ast.expr) -> bool:
    elements = node.elts if isinstance(node, ast.List | ast.Tuple | ast.Set) else [node]
    return any(isinstance(one, ast.Constant) and isinstance(one.value, str) for one in elements)
