"""Options and arguments that commands share."""

import getpass
import json
import re
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path
from typing import Annotated, TypeVar

import typer
from pydantic import BaseModel, ValidationError

from commands.output import MISUSE, fail
from settings import STACK_FILE, StackFile, stack_file

RedemptionId = Annotated[str, typer.Argument(metavar="ID", help="The redemption, like cr_4k1t9zq0m2x7c8v5b3n6.")]
Reference = Annotated[
    str,
    typer.Argument(
        metavar="ID", help="The redemption, like cr_4k1t9zq0m2x7c8v5b3n6, its workflow, discount code or X-Request-Id."
    ),
]
ShopDomain = Annotated[str, typer.Option("--shop", help="The shop's domain, like demo.myshopify.com.")]
Shop = Annotated[str, typer.Argument(metavar="SHOP", help="The shop's domain, like demo.myshopify.com.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON, for programs.")]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask for confirmation.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Print what would be done, and change nothing.")]
Reason = Annotated[str, typer.Option(help="Why. Stored in the activity log. No personal data.")]
Actor = Annotated[
    str, typer.Option("--by", help="Who acts. Stored in the activity log.", default_factory=getpass.getuser)
]


Model = TypeVar("Model", bound=BaseModel)
Fields = Annotated[
    list[str],
    typer.Argument(metavar="FIELD=VALUE...", help="Fields as in an import file, see docs/import.md. `null` removes."),
]


def choose_stack(data_dir: Path | None) -> None:
    """Read settings from the local stack of this data directory; without one, from the stack that runs in `.data`."""
    chosen = StackFile(STACK_FILE if data_dir is None else data_dir / STACK_FILE.name, is_chosen=data_dir is not None)
    try:
        chosen.settings()
    except FileNotFoundError:
        if data_dir is not None:
            fail(
                f"no local stack runs in {data_dir}: start it with `pointsaga up --data-dir {data_dir}`", status=MISUSE
            )
    except (OSError, ValueError) as error:
        fail(f"{chosen.path} cannot be read: {error}", status=MISUSE)
    else:
        stack_file.set(chosen)


def check_reason(reason: str) -> str:
    """A required reason, without surrounding spaces."""
    if not 0 < len(reason.strip()) <= 500:
        raise typer.BadParameter("give a reason of 1 to 500 characters", param_hint="--reason")
    return reason.strip()


def parse_duration(text: str) -> timedelta:
    """Parse a duration such as `90s`, `2m`, `1h` or `1d`."""
    match = re.fullmatch(r"(\d{1,6})([smhd])", text)
    if match is None:
        raise typer.BadParameter(f"{text!r} is not a duration; write it like 90s, 2m, 1h or 1d")
    unit = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}[match[2]]
    return timedelta(**{unit: int(match[1])})


def parse_fields(model: type[Model], pairs: Sequence[str], **more: str) -> Model:
    """A model of `FIELD=VALUE` arguments. A value is text where the field is, and JSON where it is not."""
    values: dict[str, object] = {**more}
    for pair in pairs:
        name, separator, text = pair.partition("=")
        if not separator:
            fail(f"{pair!r} is not FIELD=VALUE; the fields are: {', '.join(model.model_fields)}", status=MISUSE)
        values[name] = None if text == "null" else text
    try:
        return model.model_validate(values)
    except ValidationError as error:
        for name in {item["loc"][0] for item in error.errors() if item["loc"]}:
            values[str(name)] = _from_json(values.get(str(name)))
    try:
        return model.model_validate(values)
    except ValidationError as error:
        lines = [f"{'.'.join(map(str, item['loc']))}: {item['msg']}" for item in error.errors(include_url=False)]
        fail("\n".join(line.removeprefix(": ") for line in lines), status=MISUSE)


def _from_json(text: object) -> object:
    try:
        return json.loads(str(text))
    except ValueError:
        return text
