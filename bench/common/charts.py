"""Results of bench/run as pictures, and a page that shows them."""

import json

# Picture -> (what it shows, the benchmarks in it, whether more is better).
PICTURES = {
    "round_trip": ("A call of a function that does nothing, there and back", ["round_trip"], False),
    "tasks": ("20,000 tiny tasks on two workers", ["tasks"], False),
    "map": ("A map over 20,000 integers on two workers", ["map_overhead/unbatched", "map_overhead/batched"], False),
    "bandwidth": ("An array as an argument", [f"bandwidth_argument/{size}" for size in ("64KiB", "1MiB", "64MiB")], True),
    "balance": ("400 tasks of 0.1 to 20 ms on two workers, beside the ideal", ["balance"], False),
    "start_up": ("Four workers, until each has answered", ["start_up"], False),
    "channels": ("A queue at a worker: put and take; and items that stream", ["channels/round_trip", "channels/stream"], False),
}
OURS, OTHERS, FLOORS = "#1f6f8b", "#b8b8b8", "#e2d4b7"


def publish(document, folder):
    """Writes the results, a picture for each group of them, and README.md into that folder."""
    try:
        import matplotlib
    except ImportError:
        raise SystemExit("--charts needs matplotlib: scripts/setup --peers installs it, for Debian's /usr/bin/python3") from None
    matplotlib.use("svg")
    matplotlib.rcParams["svg.hashsalt"] = "muster"  # the same picture for the same results
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "results.json").write_text(json.dumps(document, indent=1) + "\n")
    drawn = [name for name in PICTURES if draw(name, document["results"], folder / f"{name}.svg")]
    (folder / "README.md").write_text(page(document, drawn))


def bars_of(benchmark, results):
    """(label, value, color) of each variant measured: ours, the floor it is compared with, and peers."""
    bars = []
    for entry in results:
        if entry["workload"] != benchmark or entry["median"] is None:
            continue
        variant, value = entry["variant"], entry["median"]
        if benchmark == "balance":
            value = entry.get("ratio")
        if variant.startswith("floor: "):
            if benchmark == "balance" or entry["floor_name"] not in ("bare_ring", "raw_zmq", "memcpy"):
                continue
            bars.append((variant.removeprefix("floor: ").replace("_", " "), value, FLOORS))
        elif value is not None:
            bars.append((variant.replace("_", " "), value, OURS if variant == "muster" else OTHERS))
    return bars


def draw(name, results, file):
    """One picture. False where nothing of it was measured."""
    import matplotlib.pyplot as plot

    title, benchmarks, more_is_better = PICTURES[name]
    groups = [(benchmark, bars) for benchmark in benchmarks if (bars := bars_of(benchmark, results))]
    if not groups:
        return False
    heights = [len(bars) + 1 for _, bars in groups]
    figure, axes = plot.subplots(len(groups), 1, squeeze=False, figsize=(8, 0.28 * sum(heights) + 0.8), height_ratios=heights)
    for axis, (benchmark, bars) in zip(axes[:, 0], groups):
        bars.sort(key=lambda bar: bar[1], reverse=not more_is_better)
        labels, values, colors = zip(*bars)
        drawn = axis.barh(range(len(bars)), values, color=colors)
        axis.set_yticks(range(len(bars)), labels)
        axis.bar_label(drawn, [f" {value:.3g}" for value in values])
        axis.set_xscale("log")
        axis.margins(x=0.15)
        axis.spines[["top", "right"]].set_visible(False)
        unit = next(entry["unit"] for entry in results if entry["workload"] == benchmark)
        axis.set_xlabel(f"{benchmark}: " + ("times the ideal" if benchmark == "balance" else unit), fontsize=9)
    figure.suptitle(title + (" (more is better)" if more_is_better else " (less is better)"))
    figure.tight_layout()
    figure.savefig(file, metadata={"Date": None})
    plot.close(figure)
    return True


def page(document, drawn):
    machine, load = document["machine"], document["load"]
    busy = max(each["busy_fraction"] for each in load)
    stolen = max(each["stolen_fraction"] for each in load)
    lines = [
        "# Measured",
        "",
        "Made by `bench/run --peers --charts docs/benchmarks`; all numbers, of every round, are in `results.json`, and what they mean is in",
        "`bench/README.md`. The axes are logarithmic; floors (sand) are what the machine gives without any of these systems.",
        "",
        f"{document['rounds']} round{'s' if document['rounds'] > 1 else ''} on {document['started'][:10]}, Muster {machine['version']}. {machine['processor']}, "
        f"{machine['usable_processors']} processors{' of a virtual machine' if machine['virtual'] else ''}, "
        f"{machine['memory_gib']:g} GiB, Linux {machine['kernel']}; busy for {100 * busy:.0f} % of the time (these programs included), "
        f"{100 * stolen:.1f} % taken by other machines, load average {load[0]['loadavg_before'][0]:.1f} at the beginning.",
    ]
    for name in drawn:
        lines += ["", f"## {PICTURES[name][0]}", "", f"![{name}]({name}.svg)", ""]
        lines += ["| | | median | unit |", "|---|---|---:|---|"]
        for entry in document["results"]:
            if entry["workload"] in PICTURES[name][1] and entry["median"] is not None:
                lines.append(f"| {entry['workload']} | {entry['variant'].replace('_', ' ')} | {entry['median']:.3g} | {entry['unit']} |")
    return "\n".join(lines) + "\n"
