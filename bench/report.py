#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""Medians, ratios, tables and plots of what the benchmark printed.

report.py OUTDIR NAME=FILE...   one file of BENCH lines for each machine NAME; of
"NAME traces", a report of their own: traces.md

A line is "BENCH what subject param metric repetition value"; times are in
picoseconds. Ratios are taken within a repetition, where both sides ran one after
the other, and the median of those is what counts.
"""
import math
import os
import sys


def read(name, path, data, info):
    for line in open(path, errors="replace"):
        f = line.rstrip("\n").split("\t")
        if f[0] == "INFO":
            info.append(f"{name}: {f[1]}")
        if len(f) == 7 and f[0] == "BENCH":
            key = (name, f[1], f[2], int(f[3]), f[4])
            data.setdefault(key, {})[int(f[5])] = int(f[6])


def quantile(values, q):
    v = sorted(values)
    at = q * (len(v) - 1)
    lo = int(at)
    hi = min(lo + 1, len(v) - 1)
    if v[lo] == v[hi]:  # both may be infinite
        return v[lo]
    return v[lo] + (v[hi] - v[lo]) * (at - lo)


def spread(values):
    return [quantile(values, q) for q in (0.5, 0.25, 0.75)]


def is_time(metric):
    return not any(w in metric for w in ("/", "bytes", "holds", "pages", "permille", "ppm", "flushes"))


def number(x, metric):
    """A value as people read it."""
    if "permille" in metric:
        return f"{x / 1000:.3f}"
    if not is_time(metric):
        return f"{x:,.0f}" if x >= 100 else f"{x:.3g}"
    for unit, size in (("s", 1e12), ("ms", 1e9), ("us", 1e6)):
        if x >= size:
            return f"{x / size:.3g} {unit}"
    return f"{x / 1000:.3g} ns"


# ---- what is to be reached ----

NATIVE = ("uml",)
STOCK = ("6.1", "6.12")
BOOT = ("6.1 as shipped", "6.12 as shipped")


def ratios(data, a, b):
    x, y = data.get(a, {}), data.get(b, {})
    return [x[r] / y[r] for r in x if y.get(r)]


def goals(data):
    """Yields: point, what, machine, ratio's values (or plain ones), sign, bound, metric."""
    def k(m, what, who, param, metric="time"):
        return (m, what, who, param, metric)

    def pair(m, who, n):
        return k(m, "pair", who, n)

    for m in NATIVE + ("uml profile off",):
        yield 1, "pair of 1 page / alloc_page", m, ratios(data, pair(m, "spanheap", 1), pair(m, "alloc_pages", 1)), "<=", 0.5
        yield 1, "pair of 1 page / kmem_cache of 128 B", m, ratios(data, pair(m, "spanheap", 1), pair(m, "kmem_cache 128 B", 1)), "<=", 1.3
        for n in (2, 4, 8, 16):
            yield 1, f"pair of {n} pages / own pair of 1 page", m, ratios(data, pair(m, "spanheap", n), pair(m, "spanheap", 1)), "<=", 1.2
    for m in NATIVE + STOCK:
        # Caches off: the default ones take spans of up to 256 pages
        sizes = [n for n in (32, 64, 256, 1024, 4096, 16384, 65536) if pair(m, "spanheap, no caches", n) in data]
        if not sizes:
            continue
        v = [data[pair(m, "spanheap, no caches", n)] for n in sizes]
        reps = set.intersection(*map(set, v))
        what = f"slowest / fastest pair beyond the cache, {sizes[0]} to {sizes[-1]:,} pages"
        yield 2, what, m, [max(x[r] for x in v) / min(x[r] for x in v) for r in reps], "<=", 3
        # A pair takes the heap lock twice
        irqs = data.get(pair(m, "interrupts off and on", 1))
        if irqs and m in NATIVE:
            yield 2, f"{what}, less interrupts off and on", m, [(max(x[r] for x in v) - 2 * irqs[r]) / (min(x[r] for x in v) - 2 * irqs[r]) for r in reps], "<=", 3
    for m in STOCK:
        for n, bound in ((1, 10), (16, 25), (256, 300)):
            yield 3, f"vmalloc+vfree / warm pair, {n} pages", m, ratios(data, pair(m, "vmalloc", n), pair(m, "spanheap", n)), ">=", bound
        yield 3, "vmalloc+vfree / cold alloc+free, 256 pages", m, ratios(data, k(m, "cold", "vmalloc", 256, "alloc+free"), k(m, "cold", "spanheap", 256, "alloc+free")), ">=", 1.5
        yield 3, "vmalloc+vfree / cold alloc+free+release, 256 pages", m, ratios(data, k(m, "cold", "vmalloc", 256, "alloc+free"), k(m, "cold", "spanheap", 256, "alloc+free+release")), ">=", 1.5
        for cpus in ("1 CPU", "2 CPUs"):
            def k5(who):
                return k(m, "align", who, 5, f"{cpus} pairs/s")
            yield "aligned", f"pairs of 5 pages at 32 KiB / __vmalloc's, {cpus}", m, ratios(data, k5("spanheap, aligned"), k5("vmalloc")), ">=", 5
            yield "aligned", f"the same, zeroed, {cpus}", m, ratios(data, k5("spanheap, aligned, zeroed"), k5("vmalloc, zeroed")), ">", 1
    for m in BOOT:
        for n in (1, 4, 16, 64, 256, 1024):
            yield 3, f"vmalloc+vfree / warm pair, {n} pages", m, ratios(data, pair(m, "vmalloc", n), pair(m, "spanheap", n)), ">", 1
        for n in (1, 4, 16, 64, 256, 1024):
            yield 3, f"vmalloc+vfree / cold alloc+free, {n} pages", m, ratios(data, k(m, "cold", "vmalloc", n, "alloc+free"), k(m, "cold", "spanheap", n, "alloc+free")), ">", 1
    for m in NATIVE + ("6.12",):
        for op in ("alloc p50", "alloc p99.9", "free p50", "free p99.9"):
            yield 4, f"{op}, 1,000,000 / 1,000 free spans", m, ratios(data, k(m, "scale", "spanheap", 1000000, op), k(m, "scale", "spanheap", 1000, op)), "<=", 2
    for m in NATIVE:
        for op in ("alloc p50", "alloc p99.9", "free p50", "free p99.9", "free of the rest p50", "free of the rest p99.9"):
            yield 4, f"{op}, 65,536 holes of 8 KiB / 1,000", m, ratios(data, k(m, "holes", "spanheap", 65536, op), k(m, "holes", "spanheap", 1000, op)), "<=", 2
    for m in NATIVE + STOCK:
        for n in (1, 16):
            one = k(m, "smp", "spanheap", n, "1 CPU pairs/s")
            yield 5, f"2 CPUs / 1 CPU, pairs of {n} pages a second", m, ratios(data, k(m, "smp", "spanheap", n, "2 CPUs pairs/s"), one), ">=", 1.9
            yield 5, f"producer/consumer / 1 CPU, {n} pages", m, ratios(data, k(m, "smp", "spanheap", n, "producer/consumer pairs/s"), one), ">=", 1.3
    for m in NATIVE:
        for n in (8, 700):
            alone = k(m, "lookup", "spanheap", n, "alone")
            yield 6, f"look-up in spans of {n} pages, ns", m, [x / 1000 for x in data.get(alone, {}).values()], "<=", 15
            yield 6, f"look-up in spans of {n} pages beside allocation / alone", m, ratios(data, k(m, "lookup", "spanheap", n, "beside"), alone), "<=", 1.1
    for m in STOCK:
        for n in (16, 32768):
            yield 7, f"pages released a second / bare loop, spans of {n:,} pages", m, ratios(data, k(m, "release", "spanheap", n, "pages/s"), k(m, "release", "bare loop", 32768, "pages/s")), ">=", 0.8
            yield 7, f"pages per TLB flush, spans of {n:,} pages", m, list(data.get(k(m, "release", "spanheap", n, "pages/flush"), {}).values()), ">=", 512
        for n in (1, 64):
            yield 7, f"p99.9 of allocating {n} pages, during release / idle", m, ratios(data, k(m, "beside release", "releasing", n, "alloc p99.9"), k(m, "beside release", "idle", n, "alloc p99.9")), "<=", 2
    for m in NATIVE:
        yield 7, "longest hold of the heap lock, 1,000,000 free spans, us (all)", m, [x / 1e6 for x in data.get(k(m, "hold", "spanheap", 1000000, "hold max"), {}).values()], "<=", 50
        yield 7, "longest hold of the heap lock, 1,000,000 free spans, us (of 10 ms, median)", m, [x / 1e6 for x in data.get(k(m, "hold", "spanheap", 1000000, "longest hold of 10 ms"), {}).values()], "<=", 50
        yield 7, "pages per TLB flush, 1,000,000 free spans", m, list(data.get(k(m, "hold", "spanheap", 1000000, "pages/flush"), {}).values()), ">=", 512
        yield 7, "p99.9 of allocation, during release / idle, 1,000,000 free spans", m, ratios(data, k(m, "hold release", "spanheap", 1000000, "alloc p99.9"), k(m, "hold idle", "spanheap", 1000000, "alloc p99.9")), "<=", 2
    for m in STOCK:
        for n in (16, 64, 256):
            v = data.get(k(m, "meta", "spanheap", n, "bytes/MiB"), {})
            yield 8, f"metadata, spans of {n} pages, % of the memory", m, [x / 2**20 * 100 for x in v.values()], "<=", 0.5
    for m in NATIVE:
        for used in ("untouched", "a line of each page written", "all written"):
            for n in (1, 16):
                yield "profile", f"pair of {n} page{'s' * (n > 1)}, {used}, profile on / off", m, ratios(data, k(m, "profile", used, n, "on"), k(m, "profile", used, n, "off")), "<=", 1.02
    for m in ("uml init_on_free",):
        yield 10, "zeroed / plain allocation, 16 known-zero pages", m, ratios(data, k(m, "zero", "known zero", 16, "zeroed alloc"), k(m, "zero", "known zero", 16, "plain alloc")), "<=", 1.1


HOLDS = {"<=": lambda x, b: x <= b, ">=": lambda x, b: x >= b, ">": lambda x, b: x > b}


def table_of_goals(found, o):
    """Rows of goals() or held_goals()"""
    print("| point | ratio or value | machine | measured | quartiles | wanted | reached |", file=o)
    print("|---|---|---|---|---|---|---|", file=o)
    for point, what, m, v, sign, bound in found:
        if not v:
            continue
        mid, lo, hi = spread(v)
        ok = "yes" if HOLDS[sign](mid, bound) else "**no**"
        print(f"| {point} | {what} | {m} | {mid:.4g} | {lo:.4g} - {hi:.4g} | {sign} {bound:.4g} | {ok} |", file=o)


def begin(title, text, info, found, o):
    print(f"# {title}\n\n{text}\n", file=o)
    for line in info:
        print(f"* {line}", file=o)
    print("\n## What was to be reached\n", file=o)
    table_of_goals(found, o)


def markdown(data, info, path):
    with open(path, "w") as o:
        begin("Measurements",
              "Made by `make bench`; method and distortions are in ../performance.rst. Times are medians with\n"
              "their quartiles; ratios are medians of the ratios within each repetition, with theirs.",
              info, goals(data), o)
        for m in dict.fromkeys(key[0] for key in data):
            for what in dict.fromkeys(key[1] for key in data if key[0] == m):
                keys = [key for key in data if key[:2] == (m, what)]
                metrics = list(dict.fromkeys(key[4] for key in keys))
                print(f"\n## {m}: {what}\n", file=o)
                print("| subject | pages or spans | " + " | ".join(metrics) + " |", file=o)
                print("|" + "---|" * (len(metrics) + 2), file=o)
                for who, param in dict.fromkeys((key[2], key[3]) for key in keys):
                    row = [who, f"{param:,}"]
                    for metric in metrics:
                        v = data.get((m, what, who, param, metric))
                        if not v:
                            row.append("")
                            continue
                        mid, lo, hi = spread(v.values())
                        text = number(mid, metric)
                        if len(v) > 1 and (lo, hi) != (mid, mid):
                            text += f" ({number(lo, metric)} - {number(hi, metric)})"
                        row.append(text)
                    print("| " + " | ".join(row) + " |", file=o)


def tsv(data, path):
    with open(path, "w") as o:
        print("machine\twhat\tsubject\tparam\tmetric\trepetitions\tmedian\tq1\tq3\tunit", file=o)
        for key, v in data.items():
            mid, lo, hi = spread(v.values())
            unit = "ps" if is_time(key[4]) else "1"
            print(*key, len(v), f"{mid:.0f}", f"{lo:.0f}", f"{hi:.0f}", unit, sep="\t", file=o)


# ---- memory held, and its price: traces and loads ----

MIB = 256	# pages
CPUS = 2	# of the VM
SHIPPED = "spanheap"	# as it is by default
MEAN = {"build": 1.60, "filesystems": 1.20, "modules": 1.12, "network": 1.08}
BACK = ("light", "light300", "idle")	# 95 % given back within 2 s
LIGHT = ("light", "light300", "light100", "idle", "waves-hour")	# no flush in an operation


def held_goals(data):
    """As goals(), of the traces and loads"""
    for m, what in dict.fromkeys(key[:2] for key in data):
        kind, name = what.split(" ", 1)

        def v(metric, per=1, who=SHIPPED):
            return [x / per for x in data.get((m, what, who, 0, metric), {}).values()]

        def to_vmalloc(metric):
            return ratios(data, (m, what, SHIPPED, 0, metric), (m, what, "vmalloc", 0, metric))
        if kind == "trace":
            others = {key[2] for key in data if key[:2] == (m, what) and not key[2].startswith("spanheap")} - {"vmalloc"}
            best = min([x for who in others for x in v("resident/live mean permille", 1000, who)], default=None)
            yield "mean", f"{what}: mean resident / live", m, v("resident/live mean permille", 1000), "<=", MEAN.get(name, 1.2)
            if best:
                yield "mean", f"{what}: the same, to the best of those that give nothing back", m, v("resident/live mean permille", 1000 * best), "<=", 1
            yield "peak", f"{what}: peak resident / peak live", m, v("resident/live peak permille", 1000), "<=", 1.10
            yield "time", f"{what}: time of an operation / vmalloc's", m, to_vmalloc("time of an operation"), "<=", 0.75
            yield "time", f"{what}: its p99 / vmalloc's", m, to_vmalloc("time of an operation p99"), "<=", 1
        if kind == "trace" or name in LIGHT:
            yield "in the way", f"{what}: flushes in operations", m, v("flushes in operations"), "<=", 0
        if name in BACK:
            # 0: it never was
            back = [x or math.inf for x in v("95 % back after", 1e12)]
            yield "back", f"{what}: 95 % given back after, s", m, back, "<=", 2
            yield "CPU", f"{what}: CPU of the background, %", m, v("background CPU ppm", 1e4), "<=", 0.2
        else:
            yield "CPU", f"{what}: CPU of the background, %", m, v("background CPU ppm", 1e4), "<=", 2
        yield "flushes", f"{what}: flushes of ticks a second", m, v("flushes of ticks/s permille", 1000), "<=", 2
        if name == "lengths":
            live = v("peak live pages")
            if live:
                yield "peak", f"{what}: peak resident, MiB", m, v("peak resident pages", MIB), "<=", live[0] / MIB * 17 / 16 + CPUS / 8 + 16
        if name == "half-hot":
            yield "hot half", f"{what}: pages backed again within 60 s", m, v("pages backed again within 60 s"), "<=", 0


def held_table(data, o):
    head = ("load", "subject", "time of an operation", "/ vmalloc's", "p99", "/ vmalloc's", "resident/live mean",
            "peak", "idle held, MiB", "flushes/s", "in operations", "released, MiB", "backed again, MiB",
            "background CPU", "95 % back")
    for m in dict.fromkeys(key[0] for key in data):
        print(f"\n## {m}\n", file=o)
        print("| " + " | ".join(head) + " |", file=o)
        print("|" + "---|" * len(head), file=o)
        for what, who in dict.fromkeys((key[1], key[2]) for key in data if key[0] == m):
            def mid(metric):
                v = data.get((m, what, who, 0, metric))
                return spread(v.values())[0] if v else None

            def show(metric, form):
                x = mid(metric)
                return "" if x is None else form(x)

            def to_vmalloc(metric):
                v = ratios(data, (m, what, who, 0, metric), (m, what, "vmalloc", 0, metric))
                return f"{spread(v)[0]:.2f}" if v else ""

            def mib(x):
                return f"{x / MIB:,.2f}"
            t = "time of an operation"
            row = [what, who, show(t, lambda x: number(x, t)), to_vmalloc(t),
                   show(t + " p99", lambda x: number(x, t)), to_vmalloc(t + " p99"),
                   show("resident/live mean permille", lambda x: f"{x / 1000:.2f}"),
                   show("resident/live peak permille", lambda x: f"{x / 1000:.2f}"),
                   show("idle resident pages, mean", mib),
                   show("flushes/s permille", lambda x: f"{x / 1000:.2f}"),
                   show("flushes in operations", lambda x: f"{x:.0f}"),
                   show("pages released", mib), show("pages backed again within 60 s", mib),
                   show("background CPU ppm", lambda x: f"{x / 1e4:.2f} %"),
                   show("95 % back after", lambda x: number(x, t) if x else "never")]
            print("| " + " | ".join(row) + " |", file=o)


def held_markdown(data, info, path):
    with open(path, "w") as o:
        begin("Memory held, and its price",
              "Made by `make bench PART=traces`; what traces and loads are is in ../performance.rst. Medians of the\n"
              "repetitions; every value with its quartiles is in traces.tsv. Of vmalloc, resident is what is live.",
              info, held_goals(data), o)
        held_table(data, o)


def read_peers():
    """{load: {policy: (MiB held beyond live, time / vmalloc's)}}, in an emulated VM"""
    peers = {}
    with open(os.path.join(os.path.dirname(os.path.abspath(__file__)), "peers.tsv")) as lines:
        for f in (line.split("\t") for line in lines if not line.startswith("#")):
            if f[0] == "emulated":
                peers.setdefault(f[1], {})[f[2]] = (float(f[3]), float(f[6]))
    return peers


# ---- plots ----

COLOURS = ("#c0392b", "#2c6fbb", "#27875a", "#8e44ad", "#b9770e", "#566573", "#d35d90", "#16a3a3")


class Svg:
    LEFT, RIGHT, TOP, BOTTOM = 70, 190, 40, 50

    def __init__(self, title, width=760, height=440):
        self.W, self.H = width, height
        self.out = [f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {self.W} {self.H}" '
                    'font-family="sans-serif" font-size="12">',
                    f'<rect width="{self.W}" height="{self.H}" fill="white"/>']
        self.text(self.LEFT, 22, title, size=15)

    def text(self, x, y, s, anchor="start", size=12, colour="#222"):
        s = str(s).replace("&", "&amp;").replace("<", "&lt;")
        self.out.append(f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" font-size="{size}" fill="{colour}">{s}</text>')

    def line(self, x1, y1, x2, y2, colour="#ddd", width=1):
        self.out.append(f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" stroke="{colour}" stroke-width="{width}"/>')

    def legend(self, i, name):
        y = self.TOP + 14 + 18 * i
        self.line(self.W - self.RIGHT + 12, y - 4, self.W - self.RIGHT + 32, y - 4, COLOURS[i % len(COLOURS)], 3)
        self.text(self.W - self.RIGHT + 38, y, name)

    def y_axis(self, lo, hi, show):
        """A logarithmic axis over whole decades; returns the mapping."""
        a, b = math.floor(math.log10(lo)), math.ceil(math.log10(hi))
        b = max(b, a + 1)
        height = self.H - self.TOP - self.BOTTOM

        def y(v):
            return self.H - self.BOTTOM - height * (math.log10(v) - a) / (b - a)
        for e in range(a, b + 1):
            self.line(self.LEFT, y(10**e), self.W - self.RIGHT, y(10**e))
            self.text(self.LEFT - 6, y(10**e) + 4, show(10**e), "end")
        return y

    def y_linear(self, hi, show):
        step = 10 ** math.floor(math.log10(hi))
        if hi / step < 4:
            step /= 2
        top = math.ceil(hi / step) * step
        height = self.H - self.TOP - self.BOTTOM

        def y(v):
            return self.H - self.BOTTOM - height * v / top
        for i in range(round(top / step) + 1):
            self.line(self.LEFT, y(i * step), self.W - self.RIGHT, y(i * step))
            self.text(self.LEFT - 6, y(i * step) + 4, show(i * step), "end")
        return y

    def save(self, path):
        with open(path, "w") as o:
            print("\n".join(self.out + ["</svg>"]), file=o)


def plot_pairs(data, machine, path):
    series = {}
    for (m, what, who, n, _), v in data.items():
        if (m, what) == (machine, "pair"):
            series.setdefault(who, []).append((n, *spread(v.values())))
    if not series:
        return
    values = [p[1] for s in series.values() for p in s]
    pages = [p[0] for s in series.values() for p in s]
    svg = Svg(f"One pair of allocation and free, warm ({machine})")
    y = svg.y_axis(min(values), max(values), lambda v: number(v, ""))
    top = math.log2(max(pages))

    def x(n):
        return svg.LEFT + (svg.W - svg.LEFT - svg.RIGHT) * math.log2(n) / top
    for e in range(0, int(top) + 1, 2):
        svg.text(x(2**e), svg.H - svg.BOTTOM + 16, f"{2**e:,}", "middle")
    svg.text((svg.LEFT + svg.W - svg.RIGHT) / 2, svg.H - 12, "pages", "middle")
    for i, (who, points) in enumerate(series.items()):
        colour = COLOURS[i % len(COLOURS)]
        points.sort()
        path_ = " ".join(f"{x(n):.1f},{y(mid):.1f}" for n, mid, _, _ in points)
        svg.out.append(f'<polyline points="{path_}" fill="none" stroke="{colour}" stroke-width="2"/>')
        for n, mid, lo, hi in points:
            svg.line(x(n), y(lo), x(n), y(hi), colour)
            svg.out.append(f'<circle cx="{x(n):.1f}" cy="{y(mid):.1f}" r="3" fill="{colour}"/>')
        svg.legend(i, who)
    svg.save(path)


def plot_bars(groups, title, metric, path, linear=False):
    """groups: {label: {name: (median, q1, q3)}}"""
    groups = {g: b for g, b in groups.items() if b}
    if not groups:
        return
    names = list(dict.fromkeys(n for b in groups.values() for n in b))
    values = [v[0] for b in groups.values() for v in b.values()]
    svg = Svg(title)
    y = (svg.y_linear(max(values), lambda v: number(v, metric)) if linear else
         svg.y_axis(min(values) / 2, max(values), lambda v: number(v, metric)))
    width = (svg.W - svg.LEFT - svg.RIGHT) / len(groups)
    bar = width * 0.8 / len(names)
    for g, (label, bars) in enumerate(groups.items()):
        left = svg.LEFT + g * width + width * 0.1
        svg.text(left + width * 0.4, svg.H - svg.BOTTOM + 16, label, "middle", 11)
        for name, (mid, lo, hi) in bars.items():
            i = names.index(name)
            at = left + i * bar
            svg.out.append(f'<rect x="{at:.1f}" y="{y(mid):.1f}" width="{bar * 0.9:.1f}" '
                           f'height="{svg.H - svg.BOTTOM - y(mid):.1f}" fill="{COLOURS[i % len(COLOURS)]}"/>')
            svg.line(at + bar * 0.45, y(max(lo, 1)), at + bar * 0.45, y(max(hi, 1)), "#222")
    for i, name in enumerate(names):
        svg.legend(i, name)
    svg.save(path)


class Panel:
    """One of many small plots: time across, memory upwards, both logarithmic."""
    W, H = 230, 200
    LEFT, RIGHT, TOP, BOTTOM = 38, 10, 24, 34

    def __init__(self, svg, x, y, title, points):
        self.svg, self.x0, self.y0 = svg, x, y
        times = [t for t, _ in points]
        held = [h for _, h in points if h > 0.01]
        self.xr = (math.floor(math.log10(min(times + [0.1]))), max(math.log10(max(times)), 0) + 0.15)
        lo = math.floor(math.log10(min(held, default=0.1)))
        self.yr = (lo, max(math.ceil(math.log10(max(held, default=1))), lo + 1))
        svg.text(x + self.LEFT, y + 14, title, size=12)
        for e in range(self.xr[0], math.floor(self.xr[1]) + 1):
            svg.line(self.px(10**e), y + self.TOP, self.px(10**e), y + self.H - self.BOTTOM)
            svg.text(self.px(10**e), y + self.H - self.BOTTOM + 14, f"{10.0**e:g}", "middle", 10)
        for e in range(self.yr[0], self.yr[1] + 1):
            svg.line(x + self.LEFT, self.py(10**e), x + self.W - self.RIGHT, self.py(10**e))
            svg.text(x + self.LEFT - 4, self.py(10**e) + 4, f"{10.0**e:g}", "end", 10)

    def px(self, t):
        at = (math.log10(t) - self.xr[0]) / (self.xr[1] - self.xr[0])
        return self.x0 + self.LEFT + at * (self.W - self.LEFT - self.RIGHT)

    def py(self, h):
        """What holds (nearly) nothing is at the bottom."""
        at = max((math.log10(h) - self.yr[0]) / (self.yr[1] - self.yr[0]), 0) if h > 0 else 0
        return self.y0 + self.H - self.BOTTOM - at * (self.H - self.TOP - self.BOTTOM)


def frontier_mark(svg, x, y, measured, colour):
    if measured:
        svg.out.append(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="4.5" fill="{colour}"/>')
    else:
        svg.out.append(f'<rect x="{x - 3.5:.1f}" y="{y - 3.5:.1f}" width="7" height="7" fill="none" '
                       f'stroke="{colour}" stroke-width="2"/>')


def plot_frontier(data, machine, path):
    """Memory held against time of an operation, a panel for each load."""
    peers = read_peers()
    loads = {}
    for what, who in dict.fromkeys((key[1], key[2]) for key in data if key[0] == machine):
        t = ratios(data, (machine, what, who, 0, "time of an operation"), (machine, what, "vmalloc", 0, "time of an operation"))
        held = data.get((machine, what, who, 0, "idle resident pages, mean"))
        if t and held:
            loads.setdefault(what, {})[who] = (spread(held.values())[0] / MIB, spread(t)[0])
    if not loads:
        return
    measured = list(dict.fromkeys(who for b in loads.values() for who in b))
    modelled = list(dict.fromkeys(who for what in loads for who in peers.get(what, {})))
    names = [(who, True) for who in measured] + [(who, False) for who in modelled]
    across = 4
    rows = -(-len(loads) // across)
    svg = Svg(f"Memory held against time ({machine}); lower left is better",
              across * Panel.W + 20, 90 + rows * Panel.H + 18 * -(-len(names) // across))
    svg.text(svg.LEFT, 42, "upwards: MiB resident beyond what is live, mean (vmalloc: 0); across: time of an operation over vmalloc's")
    for i, what in enumerate(loads):
        points = {(who, True): p for who, p in loads[what].items()}
        points.update({(who, False): p for who, p in peers.get(what, {}).items()})
        panel = Panel(svg, 10 + i % across * Panel.W, 52 + i // across * Panel.H, what, [(t, h) for h, t in points.values()])
        for key, (held, t) in points.items():
            frontier_mark(svg, panel.px(t), panel.py(held), key[1], COLOURS[names.index(key) % len(COLOURS)])
    for i, (who, is_measured) in enumerate(names):
        x, y = 24 + i % across * Panel.W, 74 + rows * Panel.H + 18 * (i // across)
        frontier_mark(svg, x, y - 4, is_measured, COLOURS[i % len(COLOURS)])
        svg.text(x + 12, y, who + ("" if is_measured else " (modelled)"))
    svg.save(path)


def bars(data, machine, what, metric, who=None):
    return {key[3]: spread(v.values()) for key, v in data.items()
            if key[0] == machine and key[1] == what and key[4] == metric and (not who or key[2] == who)}


def report(data, info, out):
    tsv(data, os.path.join(out, "results.tsv"))
    markdown(data, info, os.path.join(out, "results.md"))
    for m in dict.fromkeys(key[0] for key in data):
        plot_pairs(data, m, os.path.join(out, f"pair-{m.replace(' ', '-').replace('=', '-')}.svg"))
    groups = {}
    for metric in ("alloc p50", "alloc p99.9", "free p50", "free p99.9"):
        groups[metric] = {f"{who}, {n:,} free spans": v for who in ("spanheap", "ancestor")
                          for n, v in bars(data, "uml", "scale", metric, who).items()}
    plot_bars(groups, "One operation beside many free spans (uml)", "", os.path.join(out, "scale.svg"))
    groups = {}
    for who in dict.fromkeys(key[2] for key in data if key[:2] == ("uml", "smp") and key[2] != "nothing"):
        for n in dict.fromkeys(key[3] for key in data if key[:3] == ("uml", "smp", who)):
            groups[f"{who.split()[0]} {n}"] = {
                metric.replace(" pairs/s", ""): spread(data[("uml", "smp", who, n, metric)].values())
                for metric in ("1 CPU pairs/s", "2 CPUs pairs/s", "producer/consumer pairs/s")
                if ("uml", "smp", who, n, metric) in data}
    plot_bars(groups, "Pairs a second on one and two CPUs (uml)", "pairs/s", os.path.join(out, "smp.svg"), linear=True)


def report_held(data, info, out):
    tsv(data, os.path.join(out, "traces.tsv"))
    held_markdown(data, info, os.path.join(out, "traces.md"))
    for m in dict.fromkeys(key[0] for key in data):
        groups = {}
        for key, v in data.items():
            if key[0] == m and key[1].startswith("trace ") and key[4] == "resident/live mean permille":
                groups.setdefault(key[1][6:], {})[key[2]] = spread(v.values())
        plot_bars(groups, f"Pages held over pages in use, mean ({m})", "permille",
                  os.path.join(out, f"traces-{m}.svg"), linear=True)
        plot_frontier(data, m, os.path.join(out, f"frontier-{m}.svg"))


def main():
    out = sys.argv[1]
    data, info, held, held_info = {}, [], {}, []
    for arg in sys.argv[2:]:
        name, path = arg.split("=", 1)
        if name.endswith(" traces"):
            read(name.removesuffix(" traces"), path, held, held_info)
        else:
            read(name, path, data, info)
    if not data and not held:
        sys.exit("report: no measurement in " + " ".join(sys.argv[2:]))
    os.makedirs(out, exist_ok=True)
    if data:
        report(data, info, out)
    if held:
        report_held(held, held_info, out)


if __name__ == "__main__":
    main()
