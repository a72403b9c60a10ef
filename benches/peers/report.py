"""Ratios, geometric means and Markdown of what compare.py measured."""

import json
import math
from statistics import median

OURS, OURS_GPU, CPU = "wgpu-conv", "wgpu-conv-gpu", "onnxruntime-cpu"

# Load for each thread from which on others took processors away from whoever was timed.
BUSY = 0.4


class Recorded:
    """Times of libraries that were measured once and are not in this run, as multiples of one that is in both."""

    def __init__(self, data):
        self.data = data

    @classmethod
    def load(cls, path, adapter):
        """`None` where there are none for this adapter."""
        if not path.exists():
            return None
        data = json.loads(path.read_text())
        return cls(data) if data["adapter"] in adapter.lower() else None

    def best(self, workload, scale_now):
        """Name and milliseconds of the fastest GPU library on a workload, at the speed of this machine now."""
        if workload not in self.data["workloads"] or scale_now is None:
            return None
        index, scale = self.data["workloads"].index(workload), self.data["scale"]
        factor = scale_now / self.data["times"][scale][index]
        times = {name: times[index] for name, times in self.data["times"].items() if name != scale and times[index]}
        name = min(times, key=times.get)
        return name, times[name] * factor


class Results:
    """`by` says which of a contender's samples ratios are formed of: `median` or `min`."""

    def __init__(self, head, rows, recorded, by="median"):
        self.head, self.rows, self.recorded = head, rows, recorded
        self.by, self.pick = by, {"median": median, "min": min}[by]

    def time(self, row, name):
        samples = row["samples"].get(name)
        return self.pick(samples) if samples else None

    def best_live(self, row, kind):
        """The fastest peer of a kind: `call` (whole calls of GPU peers), `gpu` (GPU time) or `cpu`."""
        times = {name: self.time(row, name) for name, of in row["on_gpu"].items() if of == kind}
        return min(times.items(), key=lambda item: item[1]) if times else None

    def best_recorded(self, row):
        return self.recorded and self.recorded.best(row["name"], self.time(row, CPU))

    def ratios(self, row):
        """Every ratio of a row that can be formed."""
        ours, ours_gpu, cpu = (self.time(row, name) for name in (OURS, OURS_GPU, CPU))
        call = {"live": self.best_live(row, "call"), "recorded": self.best_recorded(row)}
        ratios = {f"{kind}/ours": best[1] / ours for kind, best in call.items() if best}
        if any(call.values()):
            ratios["best/ours"] = min(best[1] for best in call.values() if best) / ours
        if ours_gpu and cpu:
            ratios["gpu/cpu"] = ours_gpu / cpu
        if ours_gpu:
            for name, kind in row["on_gpu"].items():
                if kind == "gpu":
                    ratios[f"{name}/gpu"] = self.time(row, name) / ours_gpu
        return ratios

    def summary(self):
        """Geometric mean and worst of each ratio, over the rows that have it."""
        all_ratios = [(row["name"] or row["problem"], self.ratios(row)) for row in self.rows]
        names = list(dict.fromkeys(key for _, ratios in all_ratios for key in ratios))
        summary = {}
        for key in names:
            values = {name: ratios[key] for name, ratios in all_ratios if key in ratios}
            # All but one are better when they are larger.
            worst = (max if key == "gpu/cpu" else min)(values, key=values.get)
            mean = math.exp(sum(map(math.log, values.values())) / len(values))
            summary[key] = {"geometric_mean": mean, "worst": values[worst], "worst_row": worst, "rows": len(values)}
        return summary

    def markdown(self):
        contenders = list(dict.fromkeys(name for row in self.rows for name in row["samples"]))
        summary = self.summary()
        ratio_keys = list(summary)
        lines = [self.heading(), "", "Milliseconds, median (smallest):", ""]
        lines += table(
            ["", "problem", "GFLOP", "our kernel", *contenders],
            [
                [row["name"], f"`{row['problem']}`", f"{row['flops'] * 1e-9:.4f}", f"{row['kernel']} {row['variant']}"]
                + [self.cell(row, name) for name in contenders]
                for row in self.rows
            ],
        )
        if not summary:
            return "\n".join(lines + self.footnotes()) + "\n"
        lines += ["", f"Ratios, by the {'median' if self.by == 'median' else 'smallest'} of each:", ""]
        body = [
            [row["name"] or f"`{row['problem']}`", self.best_text(row)]
            + [f"{ratios[key]:.2f}" if key in ratios else "" for key in ratio_keys]
            for row in self.rows
            for ratios in [self.ratios(row)]
        ]
        body.append(["**geometric mean**", ""] + [f"**{summary[key]['geometric_mean']:.2f}**" for key in ratio_keys])
        body.append(["worst", ""] + [f"{summary[key]['worst']:.2f} ({summary[key]['worst_row']})" for key in ratio_keys])
        lines += table(["", "best GPU peer, whole call", *(LABELS.get(key) or gpu_label(key) for key in ratio_keys)], body)
        return "\n".join(lines + self.footnotes()) + "\n"

    def heading(self):
        head = self.head
        lines = [
            f"{head['adapter']}; driver {head['driver']}; {head['threads']} threads; {head['rounds']} rounds; {head['date']}.",
            "",
        ]
        if (head["load"] or 0) > BUSY * head["threads"]:
            lines += [f"The machine was busy before (load {head['load']}): these times are no measurement.", ""]
        return "\n".join(lines + [f"- {name}: {about}" for name, about in head["contenders"].items()])

    def cell(self, row, name):
        if name in row["samples"]:
            samples = row["samples"][name]
            note = f" {row['notes'][name]}" if name in row["notes"] else ""
            return f"{ms(median(samples))} ({ms(min(samples))}){note}"
        return "wrong" if row["failed"].get(name, "").startswith("WRONG") else "–"

    def best_text(self, row):
        found = [best for best in (self.best_live(row, "call"), self.best_recorded(row)) if best]
        if not found:
            return ""
        name, time = min(found, key=lambda best: best[1])
        return f"{name}, {ms(time)}" + ("" if name in row["samples"] else " (recorded)")

    def footnotes(self):
        notes = []
        if self.recorded and any("recorded/ours" in self.ratios(row) for row in self.rows):
            about, scale = self.recorded.data["about"], self.recorded.data["scale"]
            notes.append(f"Recorded: {about}; here multiplied by how {scale} runs now over how it ran then.")
        failed = {}
        for row in self.rows:
            for name, reason in row["failed"].items():
                failed.setdefault((name, reason), []).append(row["name"] or row["problem"])
        notes += [f"{name} has no part in {', '.join(rows)}: {reason}." for (name, reason), rows in failed.items()]
        return [""] + [f"- {note}" for note in notes] if notes else []


LABELS = {
    "live/ours": "best GPU peer of this run / ours",
    "recorded/ours": "best recorded GPU peer / ours",
    "best/ours": "best of both / ours",
    "gpu/cpu": "our GPU time / onnxruntime-cpu",
}


def gpu_label(key):
    """`cudnn-gpu/gpu`: what fraction of another library's speed ours is, both in GPU time."""
    return f"{key.removesuffix('/gpu')} / our GPU time"


def table(head, rows):
    lines = [head, ["---"] * len(head), *rows]
    return ["| " + " | ".join(line) + " |" for line in lines]


def ms(value):
    """Milliseconds with about three digits."""
    digits = 0 if value >= 100 else 1 if value >= 10 else 2 if value >= 0.1 else 4
    return f"{value:.{digits}f}"
