"""A route as one page of HTML: what a question found, what was taken and why, at a glance.

A `Route` comes in, a whole document goes out: no script, no font, no picture, nothing from anywhere else. Whatever
comes from documents or users is escaped. `ParametricMemory.explain` keeps all that there is to show.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Sequence
from html import escape

from parametric_memory.types import Atom, Route, RoutedAtom, Span, TokenShare

_WORD = re.compile(r"\S+")
#: Colours of stages, in their order; from the fifth on they begin again.
_STAGES = ("#4c78a8", "#72a3c4", "#e0a458", "#8a6fae")
_STYLE = """
:root { color-scheme: light dark; --paper: #fff; --ink: #1c2430; --dim: #6a7382; --line: #dfe3e9; --bar: #8fa3bd;
  --taken: #1a7f4b; --taken-paper: #eaf6ef; --left: #8a5a44; --mark: 255, 190, 40; --gate: #c0392b }
@media (prefers-color-scheme: dark) { :root { --paper: #14181f; --ink: #e4e8ee; --dim: #98a2b1; --line: #2c333e;
  --bar: #5a6f8c; --taken: #5fd39a; --taken-paper: #16281f; --left: #d3a58c; --mark: 200, 140, 0; --gate: #ff7b6b } }
body { background: var(--paper); color: var(--ink); font: 15px/1.5 system-ui, sans-serif; margin: 2rem auto;
  max-width: 70rem; padding: 0 1.5rem }
h1 { font-size: 1.7rem; line-height: 1.25; margin: 0 0 .4rem } h2 { font-size: 1rem; margin: 2rem 0 .5rem }
p { margin: .3rem 0 } .dim, small { color: var(--dim) } .verdict { font-size: 1.1rem; font-weight: 600 }
.yes { color: var(--taken) } .no { color: var(--left) }
.gauge { position: relative; height: 1.3rem; background: var(--line); border-radius: 4px; margin: 2.8rem 0 2.4rem }
.gauge .level { height: 100%; border-radius: 4px; background: var(--bar) }
.gauge .level.yes { background: var(--taken) }
.gauge .gate { position: absolute; top: -.5rem; bottom: -.5rem; border-left: 3px solid var(--gate) }
.gauge .label { position: absolute; white-space: nowrap; font-size: .85rem; transform: translateX(-50%) }
.gauge .above { top: -2rem; color: var(--gate) } .gauge .below { top: 1.5rem }
table { border-collapse: collapse; width: 100% } th { text-align: left; font-size: .8rem; color: var(--dim) }
th, td { padding: .45rem .6rem .45rem 0; border-bottom: 1px solid var(--line); vertical-align: top }
tr.taken { background: var(--taken-paper) } td:first-child, th:first-child { padding-left: .6rem }
td.number { width: 6.5rem; font-variant-numeric: tabular-nums; font-size: .85rem } td.what { min-width: 18rem }
.bar { height: .55rem; background: var(--line); border-radius: 3px; overflow: hidden }
.bar span { display: block; height: 100%; background: var(--bar) } .taken .bar span { background: var(--taken) }
.badge { font-weight: 700; font-size: .85rem; white-space: nowrap } mark { color: inherit; border-radius: 3px }
.stack { display: flex; height: 1.3rem; border-radius: 4px; overflow: hidden; margin: .3rem 0 }
.key { display: inline-block; width: .8rem; height: .8rem; border-radius: 3px; margin: 0 .35rem 0 0 }
.keys span.stage { margin-right: 1.2rem; white-space: nowrap }
"""


def route_page(route: Route) -> str:
    """Return a route as a whole HTML document."""
    parts = [_head(route), _gauge(route), _candidates(route), _stages(route), _notes()]
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">\n"
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{escape(route.query)}</title>\n<style>{_STYLE}</style>\n</head>\n<body>\n"
        + "\n".join(part for part in parts if part)
        + "\n</body>\n</html>\n"
    )


def _head(route: Route) -> str:
    of = len(route.selected) + len(route.rejected)
    if route.abstained:
        verdict = f'<p class="verdict no">The memory abstains: it is not sure enough of any of {of} candidates.</p>'
    else:
        taken = "1 is" if len(route.selected) == 1 else f"{len(route.selected)} are"
        verdict = f'<p class="verdict yes">Of {of} candidates {taken} taken.</p>'
    hops = "".join(f'\n<p class="dim">then asked: {escape(hop)}</p>' for hop in route.hops)
    return f'<p class="dim">question</p>\n<h1>{escape(route.query)}</h1>{hops}\n{verdict}'


def _gauge(route: Route) -> str:
    """Return the confidence as a bar, and the threshold as a line across it."""
    # A router's confidence may be any number; most are probabilities.
    low, high = min(0.0, route.confidence, route.threshold), max(1.0, route.confidence, route.threshold)
    level, gate = (_percent((value - low) / (high - low)) for value in (route.confidence, route.threshold))
    taken = "" if route.abstained else " yes"
    told = f"confidence {route.confidence:.3f}, threshold {route.threshold:.3f}"
    return (
        f'<div class="gauge" role="img" aria-label="{told}">'
        f'<div class="level{taken}" style="width:{level}"></div><div class="gate" style="left:{gate}"></div>'
        f'<div class="label above" style="left:{_inside(gate)}">threshold {route.threshold:.3f}</div>'
        f'<div class="label below" style="left:{_inside(level)}">confidence {route.confidence:.3f}</div></div>'
    )


def _candidates(route: Route) -> str:
    everything = [*route.selected, *route.rejected]
    if not everything:
        return "<p>The memory holds nothing that could be considered.</p>"
    low, high = min(one.score for one in everything), max(one.score for one in everything)
    # The worst of them still shows a little.
    ends = (low - 0.08 * (high - low), high) if high > low else (low - 1.0, high)
    most = max((one.lexical for one in everything if one.lexical), default=1.0)
    best = max((token.share for one in route.selected for token in _words(one.atom, one.tokens)), default=0.0)
    rows = [
        f'<tr class="{"taken" if taken else "left"}"><td class="badge {"yes" if taken else "no"}">'
        f"{'✓ taken' if taken else '✗ left'}<br><small>{escape(one.reason)}</small></td>"
        + _bar(one.score, *ends)
        + _bar(one.dense, 0.0, 1.0)
        + _bar(one.lexical, 0.0, most)
        + f'<td class="number">{_weight(one)}</td><td class="what">{_statement(one, best)}</td></tr>'
        for taken, some in ((True, route.selected), (False, route.rejected))
        for one in some
    ]
    heads = "".join(f"<th>{name}</th>" for name in ("", "score", "cosine", "BM25", "weight", "atom"))
    return f"<h2>Candidates</h2>\n<table>\n<tr>{heads}</tr>\n" + "\n".join(rows) + "\n</table>"


def _bar(value: float | None, low: float, high: float) -> str:
    if value is None:
        return '<td class="number"></td>'
    filled = _percent((value - low) / (high - low))
    return f'<td class="number">{value:.2f}<div class="bar"><span style="width:{filled}"></span></div></td>'


def _weight(one: RoutedAtom) -> str:
    share = "" if one.share is None else f"<br><small>holds the answer: {one.share:.0%}</small>"
    return f"× {one.weight:g}{share}" if share or one.weight != 1.0 else ""


def _statement(one: RoutedAtom, best: float) -> str:
    """Return an atom's statement, its words shaded by the probability that they are the answer's, and its source."""
    context, shaded = one.atom.statement, ""
    if one.tokens and one.atom.statement.endswith(one.atom.text):
        context = one.atom.statement[: -len(one.atom.text)]
        shaded = _shaded(one.atom.text, _words(one.atom, one.tokens), best)
    source = f"<br><small>{escape(one.atom.source)}</small>" if one.atom.source else ""
    return f"{escape(context)}{shaded}{source}"


def _words(atom: Atom, tokens: Sequence[TokenShare]) -> list[TokenShare]:
    """Return tokens joined to the words that they are parts of."""
    words = []
    for found in _WORD.finditer(atom.text):
        inside = [t.share for t in tokens if t.span.start < found.end() and t.span.end > found.start()]
        words.append(TokenShare(Span(*found.span()), max(inside, default=0.0)))
    return words


def _shaded(text: str, words: Iterable[TokenShare], best: float) -> str:
    pieces, at = [], 0
    for word in words:
        pieces.append(escape(text[at : word.span.start]))
        at = word.span.end
        inside, strength = escape(word.span.of(text)), word.share / best if best > 0.0 else 0.0
        # Fainter than this nobody sees.
        shown = f'<mark style="background:rgba(var(--mark),{strength:.2f})" title="{word.share:.1%}">{inside}</mark>'
        pieces.append(shown if strength >= 0.03 else inside)
    return "".join([*pieces, escape(text[at:])])


def _stages(route: Route) -> str:
    total = math.fsum(route.timings.values())
    if total <= 0.0:
        return ""
    stages = [(name, ms, _STAGES[n % len(_STAGES)]) for n, (name, ms) in enumerate(route.timings.items())]
    stack = "".join(f'<div style="width:{_percent(ms / total)};background:{colour}"></div>' for _, ms, colour in stages)
    keys = "".join(
        f'<span class="stage"><span class="key" style="background:{colour}"></span>{escape(name)} {ms:.1f} ms</span>'
        for name, ms, colour in stages
    )
    return f'<h2>Time: {total:.1f} ms</h2>\n<div class="stack">{stack}</div>\n<p class="keys">{keys}</p>'


def _notes() -> str:
    return (
        '<p class="dim"><small>Score: what the router makes of a candidate; the confidence follows from the best. '
        "Cosine: of the keys; 0 where the search by keys did not return it. BM25: of the words. Shaded words: where "
        "the answer probably stands (the probability shows under the pointer). Below the threshold nothing is taken."
        "</small></p>"
    )


def _inside(place: str) -> str:
    """Return a label's place, far enough from the edges to be read."""
    return f"clamp(4rem, {place}, calc(100% - 4rem))"


def _percent(share: float) -> str:
    return f"{100 * min(1.0, max(0.0, share)):.2f}%"
