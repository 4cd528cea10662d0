"""`pointsaga`: the operator's and developer's command line. Thin: each command reads settings and calls one function."""

import typer

app = typer.Typer(
    help="Pointsaga: loyalty points for Shopify discount codes.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
)


@app.callback()
def root() -> None:
    """Pointsaga: loyalty points for Shopify discount codes."""


def main() -> None:
    """Entry point of the console script."""
    app()


if __name__ == "__main__":
    main()
