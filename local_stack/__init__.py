"""The whole of Pointsaga on one machine, as child processes: for `pointsaga up`, the demo and the tests."""

from local_stack import console
from local_stack.errors import Misuse, PartFailed, StackError
from local_stack.local import LocalStack, silent
from local_stack.options import ALL_PARTS, StackOptions
from local_stack.supervisor import Report

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
