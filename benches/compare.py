#!/usr/bin/env python3
"""wgpu-conv against other libraries: one run, the same data, everyone's result checked, everyone taking turns.

    cargo build --release -p wgpu-conv-cli
    python3 benches/compare.py                                      workloads A to L, every peer that is installed
    python3 benches/compare.py --layers resnet50 --batch 32         the layers of a network
    python3 benches/compare.py A n1c64h56w56o64k3p1 --peers ncnn    some problems, some peers

Peers are onnxruntime, ncnn and PyTorch as far as they are installed (pip install numpy onnx onnxruntime ncnn torch). See
README.md in this folder for how times are taken.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median

ROOT = Path(__file__).resolve().parent.parent
# Calls before one that is timed go on for so long, one call at least: a processor that rested takes some milliseconds to reach its
# speed. (A call of 1.6 ms took 2.0 to 2.4 after a rest and a single call.)
WARM_S = 0.02
# A call this long needs none. (Pages that rest for some seconds can be slow on a virtual machine: calls of 40 ms that were not
# warmed up took 100, and so on round after round.)
LONG_MS = 1000
# How long passes on the GPU should be together, so that the clock's step does not count.
GPU_SAMPLE_MS = 5
# Fractions of the error bound of plain sums: algorithms such as Winograd's round more often.
ALLOWANCE = 8
TF32_STEP = 2.0**-10


def main():
    args = arguments()
    if args.threads != os.cpu_count():
        # Before any driver is loaded: Mesa's software adapter, and OpenMP.
        os.environ["LP_NUM_THREADS"] = os.environ["OMP_NUM_THREADS"] = str(args.threads)
    import numpy
    import peers
    from peers import report

    note = lambda text: print(text, file=sys.stderr, flush=True)
    found = [peer for peer in peers.available(args.threads, note) if chosen(peer.name, args.peers)]
    with Ours(args) as ours:
        info = ours.ask(op="info")
        head = {
            "date": time.strftime("%Y-%m-%d"),
            "adapter": info["adapter"],
            "driver": info["driver"],
            "threads": args.threads,
            "rounds": args.rounds,
            "load": round(os.getloadavg()[0], 2) if hasattr(os, "getloadavg") else None,
            "contenders": {report.OURS: f"wgpu-conv {info['version']}"} | {peer.name: peer.about for peer in found},
        }
        rows = []
        for wanted in layers(ours, args):
            row = compare(ours, found, wanted, args, numpy, note)
            rows.append(row)
            note(f"{row['name']} {row['problem']}: " + ", ".join(f"{name} {report.ms(median(samples))}" for name, samples in row["samples"].items()))
    recorded = report.Recorded.load(ROOT / "benches/recorded.json", info["adapter"])
    results = report.Results(head, rows, recorded, args.by)
    print(results.markdown())
    if args.markdown:
        write_markdown(args.markdown, args.section, results.markdown())
    if args.json:
        args.json.write_text(json.dumps({**head, "rows": rows, "summary": results.summary()}, indent=1))
    wrong = [row["problem"] for row in rows if not row["verified"]]
    if wrong:
        sys.exit(f"our own results are wrong: {', '.join(wrong)}")


def arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("problems", nargs="*", metavar="PROBLEM", help="problem strings, or A to L (default: A to L)")
    parser.add_argument("--layers", metavar="NETWORK", help="the layers of resnet50 or mobilenet")
    parser.add_argument("--batch", type=int, default=1, help="batch of the network's layers (default 1)")
    parser.add_argument("--options", default="", metavar="TEXT", help="goes behind each problem, as :f16 or :nhwc:f16")
    parser.add_argument("--rounds", type=int, default=10, help="times that everyone has a turn (default 10)")
    parser.add_argument("--peers", metavar="NAMES", help="parts of names, with commas: only those (default: all)")
    parser.add_argument("--threads", type=int, default=os.cpu_count(), help="of each CPU peer and of a software adapter")
    parser.add_argument("--pause", type=float, default=0.02, metavar="S", help="rest before each turn (default 0.02 s)")
    parser.add_argument("--by", choices=["median", "min"], default="median", help="of a contender's samples, for ratios")
    parser.add_argument("--kernel", help="force our kernel")
    parser.add_argument("--variant", help="force its variant")
    parser.add_argument("--binary", type=Path, help="the program (default: target/release/wgpu-conv)")
    parser.add_argument("--markdown", type=Path, metavar="FILE", help="write the tables there")
    parser.add_argument("--section", metavar="NAME", help="put them into FILE, after the line <!-- compare.py: NAME -->")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write every sample there")
    args = parser.parse_args()
    if args.problems and args.layers:
        parser.error("--layers and problems exclude each other")
    if args.rounds < 1 or args.threads < 1 or args.batch < 1:
        parser.error("--rounds, --threads and --batch are 1 or more")
    if args.section and not (args.markdown and place(args.markdown, args.section)):
        parser.error(f"{args.markdown} has no section {args.section!r}")
    return args


def place(path, section):
    """The text before and after the contents of a section, or None."""
    before, mark, rest = path.read_text().partition(f"<!-- compare.py: {section} -->\n")
    _, end, after = rest.partition("<!-- end -->\n")
    return (before + mark, end + after) if mark and end else None


def write_markdown(path, section, text):
    if section:
        before, after = place(path, section)
        text = before + text + after
    path.write_text(text)


def chosen(name, wanted):
    return wanted is None or any(part.strip() in name for part in wanted.split(","))


def layers(ours, args):
    """Name and problem of everything to be measured."""
    return [(name, problem + args.options) for name, problem in plain_layers(ours, args)]


def plain_layers(ours, args):
    if args.problems:
        letters = {layer["name"]: layer["problem"] for layer in ours.ask(op="layers")["layers"]}
        return [(text.upper(), letters[text.upper()]) if text.upper() in letters else ("", text) for text in args.problems]
    request = {"network": args.layers, "batch": args.batch} if args.layers else {}
    return [(layer["name"], layer["problem"]) for layer in ours.ask(op="layers", **request)["layers"]]


class Ours:
    """The program as a server. Device, pipelines and weights stay between requests."""

    def __init__(self, args):
        suffix = ".exe" if os.name == "nt" else ""
        binary = args.binary or Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target")) / f"release/wgpu-conv{suffix}"
        if not binary.exists():
            sys.exit(f"there is no {binary}: cargo build --release -p wgpu-conv-cli")
        self.forced = {key: value for key in ("kernel", "variant") if (value := getattr(args, key))}
        self.process = subprocess.Popen(
            [binary, "bench", "--serve"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.stdin.close()
        self.process.wait(timeout=60)

    def ask(self, **request):
        try:
            self.process.stdin.write(json.dumps(request) + "\n")
            self.process.stdin.flush()
            line = self.process.stdout.readline()
        except BrokenPipeError:
            line = ""
        if not line:
            sys.exit(f"wgpu-conv ended with {self.process.wait()} at {request}")
        answer = json.loads(line)
        if not answer.pop("ok"):
            raise RuntimeError(f"wgpu-conv: {answer['error']}")
        return answer

    def prepare(self, problem, folder):
        return self.ask(op="prepare", problem=problem, folder=str(folder), **self.forced)


class OursPrepared:
    """One of our two contenders: whole calls, or the GPU's time alone."""

    def __init__(self, ours, request):
        self.ours, self.request = ours, request

    def time(self):
        return self.ours.ask(**self.request)["ms"]

    def close(self):
        pass


def compare(ours, found, wanted, args, numpy, note):
    """Prepares one layer everywhere, checks everyone's result, and lets everyone take turns."""
    import peers
    from peers import report

    name, problem = wanted
    with tempfile.TemporaryDirectory() as folder:
        described = ours.prepare(problem, folder)
        plain = described["padding_mode"] == "zeros" and not described["residual"] and described["activation"] == "identity"
        if not plain or described["offset"] or described["dtype"] not in ("f32", "f16"):
            sys.exit(f"{problem}: peers are compared on plain convolutions of floats only")
        load = lambda part: numpy.load(f"{folder}/{part}.npy")
        parts = {part: channels_first(load(part), part, described) for part in ("input", "weight", "expected", "bounds")}
        tensors = peers.Tensors(bias=load("bias") if described["bias"] else None, **parts)
    fields = {field: described[field] for field in peers.Layer.__dataclass_fields__ if field in described}
    layer = peers.Layer(name=name, **fields)
    row = {key: described[key] for key in ("problem", "kernel", "variant", "verified", "first_use_ms", "flops", "bytes")}
    row |= {"name": name, "samples": {}, "kinds": {}, "failed": {}, "notes": {}}

    contenders = {report.OURS: OursPrepared(ours, {"op": "call", "id": described["id"]})}
    gpu = OursPrepared(ours, {"op": "gpu", "id": described["id"], "repeats": 1})
    if (first := gpu.time()) is not None:
        # A software adapter's clock is exact, and its times are long.
        gpu.request["repeats"] = 1 if ours.ask(op="info")["software"] else max(1, min(100, round(GPU_SAMPLE_MS / first)))
        contenders[report.OURS_GPU] = gpu
    for peer in found:
        try:
            prepared = peer.prepare(layer, tensors)
            check(prepared.result(), tensors, layer, peer.exact, numpy)
        except Exception as error:  # whatever a library throws: it then has no part in this row
            row["failed"][peer.name] = str(error).strip().splitlines()[0] if str(error).strip() else repr(error)
            note(f"{problem}: {peer.name}: {row['failed'][peer.name]}")
            continue
        contenders[peer.name] = prepared
        row["kinds"][peer.name] = kind(peer)
        if about := getattr(prepared, "about", None):
            row["notes"][peer.name] = about
    row["samples"] = take_turns(contenders, args)
    for prepared in contenders.values():
        prepared.close()
    ours.ask(op="release", id=described["id"])
    return row


def channels_first(array, part, described):
    """A tensor as PyTorch has it, (N, C, …), a weight (C_out, C_in / groups, …): whatever order its file is in."""
    last, axes = array.ndim - 1, range(array.ndim)
    if part == "weight":
        order = {
            "oihw": [*axes],
            "ohwi": [0, last, *axes[1:-1]],
            "hwio": [last, last - 1, *axes[:-2]],
        }[described["weight_layout"]]
    else:
        order = {"nchw": [*axes], "nhwc": [0, last, *axes[1:-1]]}[described["layout"]]
    return array.transpose(order).copy(order="C")


def kind(peer):
    """What a peer's times may be compared with: GPU time, whole calls of GPU peers, or nothing of ours."""
    if peer.gpu_time:
        return "gpu"
    # Whole calls with shorter factors are shown, and are nobody's measure.
    return "call" if peer.on_gpu and peer.exact else "other"


def check(result, tensors, layer, exact, numpy):
    """Raises unless a result is within what its arithmetic allows."""
    bounds = tensors.bounds * ALLOWANCE
    if not exact:
        # The bound is 2^-24 · S · (K + 4), S the sum of the absolute products: shorter factors cost a fraction of S.
        bounds = bounds + tensors.bounds * (2.0**24 / (layer.sum_length + 4) * TF32_STEP)
    if result.shape != tensors.expected.shape:
        raise ValueError(f"the result has shape {result.shape}; required is {tensors.expected.shape}")
    excess = numpy.abs(result.astype(numpy.float64) - tensors.expected) - bounds
    # Written so that NaN fails.
    wrong = int((~(excess <= 0)).sum())
    if wrong:
        raise ValueError(f"WRONG: {wrong} of {result.size} outputs are outside their bounds")


def take_turns(contenders, args):
    """Milliseconds of everyone, one sample for each round; who comes first changes from round to round."""
    names = list(contenders)
    samples = {name: [] for name in names}
    last = {name: contenders[name].time() for name in names}
    for number in range(args.rounds):
        start = number % len(names)
        for name in names[start:] + names[:start]:
            time.sleep(args.pause)
            begin = time.monotonic()
            while last[name] < LONG_MS:
                contenders[name].time()
                if time.monotonic() - begin > WARM_S:
                    break
            last[name] = contenders[name].time()
            samples[name].append(last[name])
    return samples


if __name__ == "__main__":
    main()
