"""Tables of what was measured, for the terminal and for RESULTS.md."""

from __future__ import annotations

import os
import platform
import subprocess
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from statistics import median
from typing import Any, Final

from .peers import CENTRIFUGO_VERSION, spring_version
from .workloads import GOALS, Figures, Workload

RESULTS: Final = Path(__file__).with_name("RESULTS.md")
#: With more than this taken by other programs a table says so.
QUIET: Final = 0.1
#: A core counts as used up when so much of what others left of it was used.
USED_UP: Final = 0.9
PACKAGES: Final = ("daphne", "uvicorn", "channels", "channels-redis", "django", "redis", "picows")

INTRODUCTION: Final = """\
# Results

What `make bench ARGS=--write` printed in one run, with the machine that it ran on. Figures move
with the machine; the ratios in one table are what to compare. `make bench ARGS="--only fan-out"`
prints one of them.
"""

EXPLANATION: Final = """\
One core is the server's; the other is for the load generator, Redis and all else. Servers take
turns, round after round; the tables show medians. "us each" is CPU time of the server's process
for one unit. "limit" says which of them used up its core; "others" is what other programs took of
the two cores meanwhile. Every message was counted at every subscriber: a run that lost one would
say so.

The gateway runs as for production: without DEBUG, its clients log in with a token, its services
have theirs, and a table of rules says who may do what. Centrifugo has its clients' JWT, and keeps a
history as the gateway does; in one row by Redis, as the gateway, in the other in its memory.
A list is a batch for it, by Redis in any order (`parallel`) and in its memory in order, whichever
is faster. Spring's simple broker and RabbitMQ keep no history. Spring answers no SEND, so its
publishers wait for nothing but deliveries; it keeps messages in order, which is not its default,
and runs under load for 15 s before it is measured. It has no row where clients stop reading: it
fails there, since the others then heard nothing for 30 s.

"longest block" is for how long the gateway's event loop heard nobody at most: from one wait for its
sockets to the next, by the clock, whatever it did and whoever took its core meanwhile. uvloop does
not say it.

All clients come from one machine and are one user, so what limits those is switched off, as the
number of connections and logins; what bounds a process stays as it is. Who reconnects brings a
token and the position after which to go on, and has caught up when all that was missed is there;
the time runs from the cut, and an attempt that is refused or fails is counted and made again.
"""


def figures(result: dict[str, Any]) -> dict[str, Any]:
    """Return the figures of one measurement."""
    if "failed" in result:
        return result
    seconds, cpu, cores = result["seconds"], result["cpu"], result["cores"]
    count = max(1, result["count"])
    own = {name: value for name, value in result.items() if name not in ("cpu", "cores")}
    load_side = sum(cpu.values()) - cpu["server"]
    return own | {
        "rate": result["count"] / seconds,
        "us": cpu["server"] / count * 1e6,
        "redis_us": cpu["redis"] / count * 1e6,
        "KiB_each": result.get("bytes_each", 0) / 1024,
        "others, server's core": max(0.0, cores["server"] - cpu["server"]) / seconds,
        "others, load's core": max(0.0, cores["load"] - load_side) / seconds,
        **{f"share of {role}": used / seconds for role, used in cpu.items()},
    }


def medians(rounds: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Return the median of each figure, or the failure if any round failed."""
    for each in rounds:
        if "failed" in each:
            return each
    return {name: median(each[name] for each in rounds) for name in rounds[0]}


def roles(row: dict[str, Any]) -> dict[str, float]:
    """Return what each role used of its core."""
    mark = "share of "
    return {name.removeprefix(mark): row[name] for name in row if name.startswith(mark)}


def limit(row: dict[str, Any]) -> str:
    """Say who had no CPU time left: the server, or who used most of the load's core."""
    used = roles(row)
    server = used.pop("server")
    used_up = []
    if server >= USED_UP * (1 - min(0.9, row["others, server's core"])):
        used_up.append("server")
    if sum(used.values()) >= USED_UP * (1 - min(0.9, row["others, load's core"])):
        used_up.append(max(used, key=lambda role: used[role]))
    return " and ".join(used_up) or "neither"


def others(row: dict[str, Any]) -> float:
    """Return what other programs took of the two cores."""
    return float(row["others, server's core"] + row["others, load's core"]) / 2


def shares(row: dict[str, Any]) -> str:
    used = {role: share for role, share in roles(row).items() if share >= 0.005}
    used["others"] = others(row)
    return ", ".join(f"{role} {share:.0%}" for role, share in used.items())


def cells(workload: Workload, server: str, row: dict[str, Any]) -> list[str]:
    if "failed" in row:
        return [server, "failed", row["failed"][:160]]
    rate = [f"{row['rate']:,.0f}", f"{row['us']:,.1f}"]
    measured = [server, *([f"{row['count']:,.0f}"] if workload.fresh else rate)]
    extra = [form.format(row[name]) if name in row else "" for name, form in workload.extra.items()]
    return [*measured, *extra, limit(row), shares(row)]


def aligned(rows: Iterable[Sequence[str]]) -> str:
    """Return rows with their columns aligned; the first column to the left."""
    rows = list(rows)
    whole = [row for row in rows if row[1] != "failed"]
    count = max((len(row) for row in whole), default=0)
    widths = [max(len(row[index]) for row in whole) for index in range(count)] or [0]
    widths[0] = max(len(row[0]) for row in rows)
    lines = []
    for first, *rest in rows:
        sizes = widths[1:] if rest[0] != "failed" else [0] * len(rest)
        padded = [text.rjust(size) for text, size in zip(rest, sizes, strict=False)]
        lines.append("  ".join([first.ljust(widths[0]), *padded]).rstrip())
    return "\n".join(lines)


def table(workload: Workload, rows: dict[str, dict[str, Any]], missing: Mapping[str, str]) -> str:
    """Return a table, and in a line which of its servers are missing, and why."""
    extra = [name.replace("_", " ") for name in workload.extra]
    unit = [workload.unit] if workload.fresh else [f"{workload.unit}/s", "us each"]
    head = ["", *unit, *extra, "limit", "share of a core"]
    text = aligned([head, *(cells(workload, server, row) for server, row in rows.items())])
    return text + noise(rows.values()) + left_out(workload.servers, missing)


def left_out(servers: Iterable[str], missing: Mapping[str, str]) -> str:
    """Return a line that says which servers are missing, and what to do."""
    named: dict[str, list[str]] = {}
    for server in servers:
        if server in missing:
            named.setdefault(missing[server], []).append(server)
    told = [f"{', '.join(names)} ({reason})" for reason, names in named.items()]
    return f"\nLeft out: {'; '.join(told)}." if told else ""


def noise(rows: Iterable[dict[str, Any]]) -> str:
    """Return a line that says how much other programs took, if that is too much."""
    most = max((others(row) for row in rows if "failed" not in row), default=0.0)
    if most <= QUIET:
        return ""
    return f"\nOther programs took up to {most:.0%} of the cores: measure on a quiet machine."


def goals(measured: Figures) -> str:
    """Return the table of what has to come out, as far as it was measured."""
    rows = [("", "goal", "measured", "")]
    for goal in GOALS:
        bound = f"{'<=' if goal.at_most else '>='} {goal.form.format(goal.bound)}"
        try:
            value = goal.value(measured)
        except KeyError:
            rows.append((goal.text, bound, "not measured", "-"))
        else:
            verdict = "ok" if goal.met(value) else "missed"
            rows.append((goal.text, bound, goal.form.format(value), verdict))
    return aligned(rows)


def machine(rounds: int, seconds: float) -> str:
    packages = ", ".join(f"{name} {version(name)}" for name in PACKAGES)
    return (
        f"{datetime.now(UTC):%Y-%m-%d}, commit {commit()}, {os.cpu_count()} cores ({processor()}),"
        f" {platform.system()} {platform.release()}, Python {platform.python_version()},\n"
        f"{packages},\nRabbitMQ {rabbitmq_version()}, Centrifugo {CENTRIFUGO_VERSION},"
        f" Spring Boot {spring_version()};\nmedians of {rounds} interleaved rounds of {seconds:g} s"
    )


def commit() -> str:
    """Return the commit of this checkout, and whether anything differs from it."""
    described = ["git", "describe", "--always", "--exclude=*", "--abbrev=12", "--dirty=, changed"]
    done = subprocess.run(described, cwd=RESULTS.parent, capture_output=True, text=True)
    return done.stdout.strip() or "unknown"


def processor() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()


def rabbitmq_version() -> str:
    command = ["dpkg-query", "-W", "-f", "${Version}", "rabbitmq-server"]
    return subprocess.run(command, capture_output=True, text=True).stdout or "of unknown version"


def write(header: str, tables: dict[str, str], measured: Figures, decoder: str) -> None:
    """Write RESULTS.md, whole."""
    parts = [INTRODUCTION, "## The servers\n", header + ".\n", EXPLANATION]
    parts += [_section(title, text) for title, text in tables.items()]
    parts.append(_section("Goals", goals(measured)))
    parts.append(
        "## The decoder, beside other parsers\n\n`realtime` is this project's `FrameDecoder`.\n"
        f"\n```\n{decoder.strip()}\n```\n"
    )
    RESULTS.write_text("\n".join(parts))


def _section(title: str, text: str) -> str:
    return f"### {title}\n\n```\n{text}\n```\n"
