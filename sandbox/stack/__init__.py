"""The whole of Pointsaga on one machine, as child processes: for `pointsaga up`, the demo and the tests."""

from sandbox.stack import console
from sandbox.stack.errors import Misuse, PartFailed, StackError
from sandbox.stack.local import LocalStack, silent
from sandbox.stack.options import ALL_PARTS, StackOptions
from sandbox.stack.supervisor import Report

__all__ = [
    "ALL_PARTS",
    "LocalStack",
    "Misuse",
    "PartFailed",
    "Report",
    "StackError",
    "StackOptions",
    "console",
    "silent",
]
