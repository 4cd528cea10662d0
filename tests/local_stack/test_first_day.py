"""docs/first-day.md, typed into an empty stack: the outputs are those of the document."""

import asyncio
import re
import shlex
from asyncio.subprocess import PIPE
from collections.abc import AsyncGenerator, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from local_stack.options import StackOptions
from local_stack.stack import LocalStack
from tests.commands.conftest import CommandLine

PAGE = Path(__file__).parents[2] / "docs" / "first-day.md"
# What a shop gets from Shopify.
FILES = {"token.txt": "shpat_first_day\n", "secret.txt": "what-shopify-signs-with\n"}
# Other values each time: of redemptions and discount codes, which the later commands name.
NAMES = re.compile(r"cr_\w{20}|MAGE-\w{10}")


@dataclass(frozen=True)
class Typed:
    """A command of the page, with the output that the page shows."""

    command: str
    output: str


def commands(page: str) -> Iterator[Typed]:
    """The commands in the page's code blocks, in order."""
    for block in re.findall(r"^```\n(.*?)^```$", page, re.DOTALL | re.MULTILINE):
        assert block.startswith("$ "), f"without a command: {block}"
        for typed in re.split(r"^\$ ", block, flags=re.MULTILINE)[1:]:
            lines = typed.splitlines(keepends=True)
            length = next(number for number, line in enumerate(lines, 1) if not line.endswith("\\\n"))
            command = "".join(lines[:length]).replace("\\\n", "").strip()
            yield Typed(command, "".join(lines[length:]))


@dataclass
class Terminal:
    """A person who types commands. `names`: what the page calls something → what it is called here."""

    stack: LocalStack
    home: Path
    names: dict[str, str] = field(default_factory=dict[str, str])
    status: int = 0

    async def type(self, typed: Typed) -> None:
        """Run a command, and compare its output with the page's."""
        words = shlex.split(self._renamed(typed.command))
        match words[0]:
            case "cat":
                # The page shows a file that the reader writes.
                (self.home / words[1]).write_text(typed.output)
                output = typed.output
            case "echo":
                output = f"{self.status}\n"
                self.status = 0
            case "curl":
                self._succeeded(typed)
                output = await self._curl(words)
            case _:
                self._succeeded(typed)
                output = await self._pointsaga(words[1:])
        self._learn(typed.output, output)
        assert re.fullmatch(self._pattern(typed), output), f"$ {typed.command}\n{output}"

    def _succeeded(self, typed: Typed) -> None:
        """Whether the page says nothing else about the command before."""
        assert self.status == 0, f"exit status {self.status} before: {typed.command}"

    async def _pointsaga(self, words: list[str]) -> str:
        stdin = None
        if "<" in words:
            *words, _, name = words
            stdin = (self.home / name).read_text()
        words = [str(self.home / word) if word.endswith(".jsonl") else word for word in words]
        run = await CommandLine(self.stack.env).run(*words, stdin=stdin)
        self.status = run.status
        if (key := re.search(r"^pointsaga_\S+$", run.out, re.MULTILINE)) and "storefront" in words:
            self.names["$KEY"] = key[0]
        # A terminal shows both. What is empty there is a progress bar.
        return "".join(f"{stream.strip()}\n" for stream in (run.err, run.out) if stream.strip())

    async def _curl(self, words: list[str]) -> str:
        process = await asyncio.create_subprocess_exec(*words, stdout=PIPE)
        output, _ = await process.communicate()
        self.status = process.returncode or 0
        return output.decode()

    def _renamed(self, text: str) -> str:
        for name, here in self.names.items():
            text = text.replace(name, here)
        return text.replace("http://127.0.0.1:8080", self.stack.api_url)

    def _learn(self, shown: str, output: str) -> None:
        names, here = NAMES.findall(shown), NAMES.findall(output)
        assert len(names) == len(here), output
        for name, one in zip(names, here, strict=True):
            assert self.names.setdefault(name, one) == one, output

    def _pattern(self, typed: Typed) -> str:
        """Of the output: `…` stands for anything, and lines of JSON are broken where the page is narrow."""
        shown = self._renamed(typed.output)
        shown = shown.replace("\n", "") if typed.command.startswith("curl") else shown
        return re.escape(shown).replace("…", ".*")


@pytest.fixture
async def terminal(tmp_path: Path) -> AsyncGenerator[Terminal]:
    for name, content in FILES.items():
        (tmp_path / name).write_text(content)
    async with LocalStack(StackOptions.on_free_ports(tmp_path / "stack", demo_data=False)) as stack:
        yield Terminal(stack, tmp_path)


async def test_the_first_day_is_as_documented(terminal: Terminal) -> None:
    typed = list(commands(PAGE.read_text()))
    assert len(typed) > 12

    for one in typed:
        await terminal.type(one)
    assert terminal.status == 0
