"""The simulated part of Shopify's schema: scalars, document validation and query costs."""

from datetime import UTC, datetime
from decimal import Decimal, InvalidOperation
from functools import cache, lru_cache
from importlib import resources
from typing import Any

from graphql import (
    DocumentNode,
    FieldNode,
    FragmentDefinitionNode,
    FragmentSpreadNode,
    GraphQLError,
    GraphQLScalarType,
    GraphQLSchema,
    OperationDefinitionNode,
    OperationType,
    SelectionNode,
    SelectionSetNode,
    build_schema,
    parse,
    validate,
)

MUTATION_COST = 10
QUERY_COST = 1


@cache
def load_schema() -> GraphQLSchema:
    """Build the schema; its scalars validate and normalise values like Shopify's."""
    sdl = (resources.files("sandbox") / "shopify.graphql").read_text(encoding="utf-8")
    schema = build_schema(sdl)
    _scalar(schema, "Decimal", _decimal_in, _decimal_out)
    _scalar(schema, "DateTime", _moment_in, _moment_out)
    _scalar(schema, "UnsignedInt64", _unsigned_in, str)
    return schema


@lru_cache(maxsize=64)
def parse_document(query: str) -> tuple[DocumentNode, tuple[GraphQLError, ...]]:
    """Parse and validate a query. Raises `GraphQLError` for a syntax error."""
    document = parse(query)
    return document, tuple(validate(load_schema(), document))


def operation_of(document: DocumentNode, name: str | None) -> OperationDefinitionNode | None:
    """The operation to execute: the named one, or the only one."""
    operations = [node for node in document.definitions if isinstance(node, OperationDefinitionNode)]
    if name is None:
        return operations[0] if len(operations) == 1 else None
    return next((node for node in operations if node.name and node.name.value == name), None)


def root_field(operation: OperationDefinitionNode) -> str:
    """The first field of the operation; faults and the call log use it as its name."""
    fields = (node.name.value for node in operation.selection_set.selections if isinstance(node, FieldNode))
    return next(fields, "invalid")


def query_cost(document: DocumentNode, operation: OperationDefinitionNode) -> int:
    """The requested cost: 10 for a mutation, 1 for a query, and 1 per object selected below the payload.

    Source: costs recorded from a development shop (github.com/airhorns/shopify-draft-proxy), Admin API 2026-04.
    """
    fragments = {node.name.value: node for node in document.definitions if isinstance(node, FragmentDefinitionNode)}
    is_mutation = operation.operation is OperationType.MUTATION
    free_levels = 2 if is_mutation else 1
    base = MUTATION_COST if is_mutation else QUERY_COST
    return base + _objects(operation.selection_set, fragments, free_levels)


def _objects(selected: SelectionSetNode | None, fragments: dict[str, FragmentDefinitionNode], free: int) -> int:
    if selected is None:
        return 0
    fields = [node for node in selected.selections if isinstance(node, FieldNode) and node.selection_set]
    spread = [node for node in selected.selections if not isinstance(node, FieldNode)]
    own = sum((free <= 0) + _objects(node.selection_set, fragments, free - 1) for node in fields)
    # A union value has one type, so only the most expensive fragment counts.
    return own + max((_objects(_spread(node, fragments), fragments, free) for node in spread), default=0)


def _spread(node: SelectionNode, fragments: dict[str, FragmentDefinitionNode]) -> SelectionSetNode | None:
    if isinstance(node, FragmentSpreadNode):
        return fragments[node.name.value].selection_set
    return getattr(node, "selection_set", None)


def _scalar(schema: GraphQLSchema, name: str, read: Any, write: Any) -> None:
    scalar = schema.type_map[name]
    assert isinstance(scalar, GraphQLScalarType)
    scalar.coerce_input_value = scalar.parse_value = read
    scalar.coerce_output_value = scalar.serialize = write


def _decimal_in(value: object) -> Decimal:
    try:
        return Decimal(str(value))
    except InvalidOperation as error:
        raise GraphQLError(f"invalid decimal {value!r}") from error


def _decimal_out(value: Decimal) -> str:
    text = f"{value.normalize():f}"
    return text if "." in text else f"{text}.0"


def _moment_in(value: object) -> datetime:
    try:
        moment = datetime.fromisoformat(str(value))
    except ValueError as error:
        raise GraphQLError(f"invalid date and time {value!r}") from error
    return moment.replace(microsecond=0, tzinfo=moment.tzinfo or UTC)


def _moment_out(value: datetime) -> str:
    return value.astimezone(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")


def _unsigned_in(value: object) -> int:
    if not str(value).isdecimal():
        raise GraphQLError(f"invalid unsigned integer {value!r}")
    return int(str(value))
