"""Taking IR apart that nobody needs any more.

An operation and its results name each other, and so do neighbours: left alone, they stay until garbage is collected, which has to look
at all of them together.
"""

from xdsl.ir import Operation, SSAValues


def discard(op: Operation) -> None:
    """Take an operation and all within it apart, whoever uses its results; its memory is free at once."""
    for inner in list(op.walk(region_first=True)):
        if inner.parent is not None:
            inner.detach()
        inner.drop_all_references()
        inner.results = SSAValues()
