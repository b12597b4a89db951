"""The findings of `benchmarks.gpu` as Markdown."""

from typing import Any

Findings = dict[str, Any]

NAMES = {"ours": "this project", "torch": "PyTorch", "torch_compile": "PyTorch, compiled"}
HEAD = "| | | ms a step | to PyTorch | launches | of the peak | MB |"
RULE = "| --- | --- | --- | --- | --- | --- | --- |"


def table_of(found: Findings) -> str:
    """The machine, the comparison of losses, and a row for each side."""
    lines = [*machine_lines(found.get("machine", {})), *losses_lines(found.get("losses", {}))]
    counts = [f"{name} {count}" for name, count in found.get("launches", {}).items()]
    lines += ["", f"Launches of a step, on the stand-in: {', '.join(counts)}"] if counts else []
    steps = found.get("steps", {})
    if steps:
        peak = found.get("peak", {}).get("product_tflops")
        lines += ["", HEAD, RULE]
        for config, sides in steps.items():
            lines += [row(config, side, sides, peak) for side in sides]
    for name in ("gradients", "suite"):
        summary = found.get(name, {}).get("summary")
        lines += ["", f"{name}: {summary}"] if summary else []
    return "\n".join(lines).strip() + "\n"


def machine_lines(machine: Findings) -> list[str]:
    versions = [f"{name} {machine[name]}" for name in ("cupy", "torch", "numpy") if name in machine]
    return [", ".join([machine.get("gpu", "no GPU"), *versions])] if machine else []


def losses_lines(losses: Findings) -> list[str]:
    gaps = [f"{key[:-4]} {value:.1e}" for key, value in losses.items() if key.endswith("_gap")]
    lines = ["", f"Losses differ from NumPy's by at most: {', '.join(gaps)}"] if gaps else []
    if "step_waits" in losses:
        lines += [f"What makes a step wait for the GPU: {losses['step_waits']}"]
    return lines


def row(config: str, side: str, sides: dict[str, Findings], peak: float | None) -> str:
    """A row for one side; "-" stands for what is not known."""
    figures = sides[side]
    ms = figures.get("ms")
    base = sides.get("torch", {}).get("ms")
    rate = figures["flop"] / ms / 1e9 if ms and "flop" in figures else None  # TFLOP a second
    cells = [
        shown(ms, ".3g"),
        shown(ms / base if ms and base else None, ".2f"),
        shown(figures.get("launches"), ".0f"),
        shown(rate / peak if rate and peak else None, ".0%"),
        shown(figures.get("memory_mb"), ".0f"),
    ]
    return f"| {config} | {NAMES[side]} | {' | '.join(cells)} |"


def shown(value: float | None, form: str) -> str:
    return "-" if value is None else format(value, form)
