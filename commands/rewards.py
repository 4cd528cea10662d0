"""`pointsaga rewards`."""

import json
from collections.abc import Callable, Coroutine, Sequence
from typing import Annotated, Any, TypeVar

import typer
from pydantic_core import to_jsonable_python
from rich.table import Table
from sqlalchemy.ext.asyncio import AsyncSession

from commands.connections import with_session
from commands.options import Actor, AsJson, Fields, ShopDomain, Yes, parse_fields
from commands.output import MISUSE, confirm, console, fail, print_json, print_message
from commands.shops import get_shop
from db.rewards import find_reward, list_rewards
from db.tables import Reward, Shop
from services import rewards as service
from services.import_changes import DoesNotFit
from services.reward_format import RewardFields
from services.rewards import RewardExists, RewardNotFound

rewards = typer.Typer(help="Rewards of a shop.", no_args_is_help=True)

Result = TypeVar("Result")
_RewardId = Annotated[str, typer.Argument(metavar="ID", help="The reward's id.")]


@rewards.command("create")
def create(
    fields: Fields,
    *,
    shop: ShopDomain,
    reward_id: Annotated[str | None, typer.Option("--id", help="The reward's id. Default: a random one.")] = None,
    actor: Actor,
    as_json: AsJson = False,
) -> None:
    """Create a reward. It can be purchased at once, unless it is created with `is_active=false`.

    Example: `pointsaga rewards create --shop demo.myshopify.com name='£5 off' discount_type=fixed_amount
    discount_amount=5 points_cost=500`
    """
    new = parse_fields(RewardFields, fields)

    async def work(session: AsyncSession, of_shop: Shop) -> Reward:
        return await service.create_reward(session, of_shop.id, new, reward_id=reward_id, actor=actor)

    _print(_run(shop, work), "created", as_json=as_json)


@rewards.command("list")
def list_all(*, shop: ShopDomain, as_json: AsJson = False) -> None:
    """List the shop's rewards, including inactive ones, but not deleted ones."""

    async def work(session: AsyncSession) -> Sequence[Reward]:
        return await list_rewards(session, (await get_shop(session, shop)).id)

    rows = with_session(work)
    if as_json:
        print_json([_as_json(row) for row in rows])
    elif not rows:
        print_message(f"{shop} has no rewards; create one with `pointsaga rewards create`")
    else:
        table = Table("id", "name", "discount", "points", "state")
        for row in rows:
            discount = f"{row.discount_type} {row.discount_amount or ''}".strip()
            table.add_row(row.id, row.name, discount, str(row.points_cost), _state(row))
        console().print(table)


@rewards.command("show")
def show(reward_id: _RewardId, *, shop: ShopDomain, as_json: AsJson = False) -> None:
    """Print every field of a reward, as an import file has it."""

    async def work(session: AsyncSession, of_shop: Shop) -> Reward:
        row = await find_reward(session, of_shop.id, reward_id)
        if row is None:
            raise RewardNotFound(reward_id)
        return row

    fields = _as_json(_run(shop, work))
    if as_json:
        print_json(fields)
    else:
        for name, value in fields.items():
            typer.echo(f"{name}: {json.dumps(to_jsonable_python(value), ensure_ascii=False)}")


@rewards.command("edit")
def edit(reward_id: _RewardId, fields: Fields, *, shop: ShopDomain, actor: Actor, as_json: AsJson = False) -> None:
    """Change the named fields of a reward. Redemptions keep the terms that they were bought on.

    Example: `pointsaga rewards edit reward_abc --shop demo.myshopify.com points_cost=400`
    """
    changes = parse_fields(RewardFields, fields)

    async def work(session: AsyncSession, of_shop: Shop) -> Reward:
        return await service.change_reward(session, of_shop.id, reward_id, changes, actor=actor)

    _print(_run(shop, work), "changed", as_json=as_json)


@rewards.command("pause")
def pause(reward_id: _RewardId, *, shop: ShopDomain, actor: Actor, as_json: AsJson = False) -> None:
    """Make a reward unavailable, until `pointsaga rewards edit ID is_active=true`. Safe to repeat."""

    async def work(session: AsyncSession, of_shop: Shop) -> Reward:
        changes = RewardFields.model_validate({"is_active": False})
        return await service.change_reward(session, of_shop.id, reward_id, changes, actor=actor)

    _print(_run(shop, work), "paused", as_json=as_json)


@rewards.command("delete")
def delete(reward_id: _RewardId, *, shop: ShopDomain, actor: Actor, yes: Yes = False) -> None:
    """Delete a reward: it cannot be purchased any more. Its redemptions, codes and history stay."""
    confirm(f"Delete reward {reward_id} of {shop} for good?", yes=yes)

    async def work(session: AsyncSession, of_shop: Shop) -> None:
        await service.delete_reward(session, of_shop.id, reward_id, actor=actor)

    _run(shop, work)
    typer.echo(f"{shop}: reward {reward_id} deleted")


def _run(domain: str, work: Callable[[AsyncSession, Shop], Coroutine[Any, Any, Result]]) -> Result:
    async def run(session: AsyncSession) -> Result:
        return await work(session, await get_shop(session, domain))

    try:
        return with_session(run)
    except DoesNotFit as error:
        fail(f"{error.field}: {error}" if error.field else str(error), status=MISUSE)
    except (RewardExists, RewardNotFound) as error:
        fail(str(error), status=MISUSE)


def _print(row: Reward, done: str, *, as_json: bool) -> None:
    if as_json:
        print_json(_as_json(row))
    else:
        typer.echo(f"reward {row.id} {done}: {row.name}, {row.points_cost} points, {_state(row)}")


def _state(row: Reward) -> str:
    return "active" if row.is_active else "paused"


def _as_json(row: Reward) -> dict[str, object]:
    columns = {name: field.serialization_alias or name for name, field in RewardFields.model_fields.items()}
    return {"id": row.id, **{name: getattr(row, column) for name, column in columns.items()}}
