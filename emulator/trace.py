"""A run as a trace that Perfetto and chrome://tracing open: one track per queue, time in cycles."""

from collections.abc import Iterable
from typing import Any

from emulator.counters import Slice
from isa.program import Program


def trace_events(program: Program, slices: Iterable[Slice]) -> dict[str, Any]:
    """The trace in Chrome's JSON format; one of its "microseconds" is one cycle.

    A slice of the array may hold many beats; it spans them from the first to the last.
    """
    events: list[dict[str, Any]] = [{"ph": "M", "pid": 0, "name": "process_name", "args": {"name": f"{program.name} (time in cycles)"}}]
    for queue in program.machine.queues:
        events.append({"ph": "M", "pid": 0, "tid": int(queue), "name": "thread_name", "args": {"name": queue.name}})
        events.append({"ph": "M", "pid": 0, "tid": int(queue), "name": "thread_sort_index", "args": {"sort_index": int(queue)}})
    for span in slices:
        owner = program.provenance[span.provenance] if span.provenance < len(program.provenance) else None
        where = {"layer": owner.layer, "product": owner.product, "node": owner.node} if owner else {}
        name = f"{owner.layer} {owner.product}: {span.label}" if owner else span.label
        events.append({
            "ph": "X", "pid": 0, "tid": int(span.queue), "name": name, "cat": span.queue.name,
            "ts": span.start, "dur": span.end - span.start, "args": where,
        })  # fmt: skip
    return {"traceEvents": events, "displayTimeUnit": "ns", "otherData": {"time unit": "1 us = 1 cycle", "schedule": program.schedule}}
