"""What `make stress` found, as text, and as one page with charts that needs nothing from anywhere else."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from typing import Any

from api.web.chartlibrary import script_file
from scripts.load.meter import Kind, Meter, Outcome, percentile
from scripts.load.verdicts import Verdict
from scripts.load.watch import HOT, LOAD, Look, Weight

_SHARES = {"p50": 0.5, "p95": 0.95, "p99": 0.99}


@dataclass(frozen=True, slots=True)
class Step:
    """A stretch of the run: how many people were there, when it began, and what it cost."""

    label: str
    people: int
    began: float
    cost: Look


@dataclass(frozen=True, slots=True)
class Result:
    """Everything a run of `make stress` found out."""

    profile: str
    facts: Sequence[tuple[str, str]]
    steps: Sequence[Step]
    meter: Meter
    weights: Sequence[Weight]
    differences: Sequence[str]


@dataclass(frozen=True, slots=True)
class Table:
    title: str
    heads: Sequence[str]
    rows: Sequence[Sequence[str]]


def as_text(result: Result, verdicts: Sequence[Verdict]) -> str:
    """Markdown."""
    parts = [f"# Under load: {result.profile}", _bullets([f"{name}: {text}" for name, text in result.facts])]
    parts += ["## Goals", _bullets([str(verdict) for verdict in verdicts])]
    for table in _tables(result):
        rows = [table.heads, ["---"] * len(table.heads), *table.rows]
        parts += [f"## {table.title}", "\n".join(f"| {' | '.join(row)} |" for row in rows)]
    if result.differences:
        parts += ["## What does not add up", _bullets(result.differences)]
    return "\n\n".join(parts) + "\n"


def as_page(result: Result, verdicts: Sequence[Verdict]) -> str:
    """HTML with Plotly in it."""
    charts = _charts(result)
    places = "".join(
        f'<figure><figcaption>{escape(title)}</figcaption><div id="chart{n}"></div></figure>'
        for n, (title, *_) in enumerate(charts)
    )
    drawn = "".join(
        f"draw('chart{n}',{_script_json(traces)},{_script_json(axes)});" for n, (_, traces, axes) in enumerate(charts)
    )
    goals = "".join(f'<li class="{"met" if one.is_met else "missed"}">{escape(str(one))}</li>' for one in verdicts)
    facts = "".join(f"<dt>{escape(name)}</dt><dd>{escape(text)}</dd>" for name, text in result.facts)
    wrong = "".join(f'<li class="missed">{escape(line)}</li>' for line in result.differences)
    tables = "".join(_table(table) for table in _tables(result))
    return _PAGE.format(
        title=f"Under load: {escape(result.profile)}",
        library=script_file().read_text(),
        facts=facts,
        goals=goals + wrong,
        places=places,
        drawn=drawn,
        tables=tables,
    )


def _bullets(lines: Sequence[str]) -> str:
    return "\n".join(f"- {line}" for line in lines)


def _table(table: Table) -> str:
    heads = "".join(f"<th>{escape(head)}</th>" for head in table.heads)
    rows = "".join("<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in row) + "</tr>" for row in table.rows)
    return f"<h2>{escape(table.title)}</h2><div><table><thead><tr>{heads}</tr></thead><tbody>{rows}</tbody></table></div>"


def _script_json(value: object) -> str:
    return json.dumps(value).replace("<", "\\u003c")


# Figures


def _tables(result: Result) -> list[Table]:
    return [_steps(result), _kinds(result), _over_steps(result), _refusals(result), _caches(result), _memory(result)]


def _steps(result: Result) -> Table:
    rows = []
    for number, step in enumerate(result.steps):
        outcomes, cost = result.meter.outcomes(step=number), step.cost
        seconds = result.meter.seconds(step=number)
        rows.append(
            [
                step.label,
                f"{len(seconds) / cost.at:,.0f}",
                *(_ms(percentile(seconds, share)) for share in _SHARES.values()),
                f"{outcomes[Outcome.FAILED]:,}",
                f"{outcomes[Outcome.TURNED_AWAY]:,}",
                f"{cost.hit_rate(*HOT):.1%}",
                f"{cost.commands / max(1.0, cost.answers):.1f}",
                *(f"{cost.processor[name] / cost.at:.0%}" for name in _names(result)),
            ]
        )
    processor = [f"{name} CPU" for name in _names(result)]
    heads = ("", "requests/s", *(f"{name} ms" for name in _SHARES), "failed", "turned away", "hot hits", "commands/request")
    return Table("Step by step (CPU in shares of one core)", (*heads, *processor), rows)


def _names(result: Result) -> list[str]:
    return [name for name in ("app", "worker", "database", LOAD) if name in result.steps[0].cost.processor]


def _kinds(result: Result) -> Table:
    last = len(result.steps) - 1
    rows = []
    for kind in Kind:
        seconds = result.meter.seconds(step=last, kinds=[kind])
        if seconds:
            shown = [_ms(percentile(seconds, share)) for share in _SHARES.values()]
            rows.append([kind.value, f"{len(seconds):,}", *shown, _ms(seconds[-1])])
    heads = ("", "answers", *(f"{name} ms" for name in _SHARES), "slowest ms")
    return Table(f"Each kind of request, {result.steps[last].label}", heads, rows)


def _over_steps(result: Result) -> Table:
    rows = []
    for kind in Kind:
        found = [result.meter.seconds(step=number, kinds=[kind]) for number in range(len(result.steps))]
        if any(found):
            rows.append([kind.value, *(_ms(percentile(seconds, 0.95)) if seconds else "" for seconds in found)])
    return Table("p95 of each kind over the steps, ms", ("", *(step.label for step in result.steps)), rows)


def _refusals(result: Result) -> Table:
    outcomes = result.meter.outcomes()
    rows = [[outcome.value, "", f"{outcomes[outcome]:,}"] for outcome in Outcome]
    rows += [[kind.value, reason, f"{count:,}"] for (kind, reason), count in sorted(result.meter.refusals.items())]
    return Table("What became of all requests", ("", "answer", "requests"), rows)


def _caches(result: Result) -> Table:
    cost = result.steps[-1].cost
    rows = []
    for name in sorted(cost.hits):
        asked = cost.hits[name] + cost.misses[name]
        if asked:
            rows.append([name, "yes" if name in HOT else "", f"{asked:,.0f}", f"{cost.hit_rate(name):.1%}"])
    return Table(f"Caches, {result.steps[-1].label}", ("", "hot reads", "look-ups", "hits"), rows)


def _memory(result: Result) -> Table:
    names = list(result.weights[-1].resident) if result.weights else []
    rows = []
    for step in result.steps:
        within = [weight for weight in result.weights if step.began <= weight.at <= step.began + step.cost.at]
        if within:
            rows.append([step.label, *(f"{within[-1].resident[name]:.0f}" for name in names), str(within[-1].files)])
    return Table("Memory at the end of each step, MiB", ("", *names, "files of the application"), rows)


def _ms(seconds: float) -> str:
    return f"{seconds * 1000:,.1f}" if seconds < 0.1 else f"{seconds * 1000:,.0f}"


# Charts

_Chart = tuple[str, list[dict[str, Any]], dict[str, Any]]


def _charts(result: Result) -> list[_Chart]:
    labels = [step.label for step in result.steps]
    meter, numbers = result.meter, range(len(result.steps))
    over_steps = [
        _line(name, labels, [percentile(meter.seconds(step=n), share) * 1000 for n in numbers]) for name, share in _SHARES.items()
    ]
    kinds = [kind for kind in Kind if meter.seconds(kinds=[kind])]
    found = [[meter.seconds(step=n, kinds=[kind]) for n in numbers] for kind in kinds]
    grid = [[percentile(seconds, 0.95) * 1000 if seconds else None for seconds in row] for row in found]
    heat = {
        "type": "heatmap",
        "x": labels,
        "y": [kind.value for kind in kinds],
        "z": grid,
        "texttemplate": "%{z:.0f}",
        "colorscale": "YlOrRd",
        "reversescale": True,
        "zmin": 0,
        "zmax": 200,
    }
    names = list(result.steps[0].cost.processor)
    busy = [
        {"type": "bar", "name": name, "x": labels, "y": [step.cost.processor[name] / step.cost.at for step in result.steps]}
        for name in names
    ]
    moments = [weight.at for weight in result.weights]
    held = [_line(name, moments, [weight.resident.get(name) for weight in result.weights]) for name in names]
    rates = [
        _line("requests/s", labels, [len(meter.seconds(step=n)) / step.cost.at for n, step in enumerate(result.steps)]),
    ]
    hits = [_line("hot reads", labels, [step.cost.hit_rate(*HOT) for step in result.steps])]
    return [
        ("Time until the answer, ms", over_steps, {"yaxis": {"type": "log"}}),
        ("p95 of each kind of request, ms", [heat], {"yaxis": {"automargin": True, "autorange": "reversed"}, "height": 560}),
        ("Requests answered a second", rates, {"yaxis": {"rangemode": "tozero"}}),
        ("Processor, in cores", busy, {"barmode": "stack"}),
        ("Memory, MiB, over the seconds of the run", held, {"yaxis": {"rangemode": "tozero"}}),
        ("Cache hits of hot reads", hits, {"yaxis": {"range": [0, 1], "tickformat": ".0%"}}),
    ]


def _line(name: str, x: Sequence[object], y: Sequence[object]) -> dict[str, Any]:
    return {"type": "scatter", "mode": "lines+markers" if len(x) < 40 else "lines", "name": name, "x": list(x), "y": list(y)}


_PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<style>
:root {{ color-scheme: light dark; --ink: #1c2430; --paper: #fbfaf7; --faint: #d9d6cd; }}
@media (prefers-color-scheme: dark) {{ :root {{ --ink: #e6e3dc; --paper: #16191e; --faint: #363b44; }} }}
body {{ font: 15px/1.5 system-ui, sans-serif; max-width: 1080px; margin: 2rem auto; padding: 0 1rem; color: var(--ink);
  background: var(--paper); }}
h1 {{ font-size: 1.6rem; }} h2, figcaption {{ font-size: 1.05rem; font-weight: 600; margin: 2rem 0 .5rem; }}
dl {{ display: grid; grid-template-columns: max-content 1fr; gap: .2rem 1.2rem; }} dt {{ opacity: .7; }} dd {{ margin: 0; }}
figure {{ margin: 0; }} div {{ overflow-x: auto; }}
table {{ border-collapse: collapse; font-variant-numeric: tabular-nums; }}
th, td {{ padding: .25rem .7rem; border-bottom: 1px solid var(--faint); text-align: right; white-space: nowrap; }}
th:first-child, td:first-child {{ text-align: left; }}
.met::marker {{ content: "\\2713  "; color: #2a8a4a; }} .missed::marker {{ content: "\\2717  "; color: #c0392b; }}
.missed {{ font-weight: 600; }}
</style>
<script>{library}</script></head><body>
<h1>{title}</h1><dl>{facts}</dl><h2>Goals</h2><ul>{goals}</ul>{places}{tables}
<script>
const ink = getComputedStyle(document.body).color, faint = getComputedStyle(document.documentElement).getPropertyValue("--faint");
const draw = (place, traces, {{yaxis, ...layout}}) => Plotly.newPlot(place, traces, {{
  height: 340, margin: {{t: 10, r: 10, b: 40, l: 60}}, paper_bgcolor: "transparent", plot_bgcolor: "transparent",
  font: {{color: ink}}, xaxis: {{gridcolor: faint}}, yaxis: {{gridcolor: faint, ...yaxis}}, legend: {{orientation: "h"}},
  ...layout
}}, {{responsive: true, displayModeBar: false}});
{drawn}
</script></body></html>
"""
