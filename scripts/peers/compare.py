#!/usr/bin/env python3
"""Runs tilegrad's benchmark and its peers in turn, round after round, and prints how they compare.

    cargo build --release --example bench
    python scripts/peers/compare.py --device cpu --threads 2 --batch 32,128 --rounds 3
    python scripts/peers/compare.py --device gpu --peers pytorch --batch 32,128,512,1024

A ratio is tilegrad's images a second by the peer's, the median over rounds of runs next to each other, with the lowest and
the highest: on a machine whose speed drifts, only such figures can be compared. Let nothing else run.

Peers: pytorch (`pip install torch`, with --python if that is another interpreter) and burn (`cargo build --release` in
scripts/peers/burn, for --device gpu or software with `--no-default-features --features wgpu`).
"""

import argparse
import json
import os
import pathlib
import statistics
import subprocess
import sys
import tempfile

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parent.parent


def command(system, args, out):
    """What runs a system and makes it write its JSON to `out`."""
    common = ["--batch", args.batch, "--steps", str(args.steps), "--json", out]
    if args.model:
        common += ["--model", args.model]
    if system == "tilegrad":
        return [ROOT / "target/release/examples/bench", "--device", args.device, *common]
    if system == "burn":
        return [HERE / "burn/target/release/burn-peer", "--device", args.device, *common]
    device = "cuda" if args.device == "gpu" else "cpu"
    threads = ["--threads", str(args.threads)] if args.threads else []
    return [args.python, HERE / "pytorch.py", "--device", device, *threads, *common]


def run(system, args):
    """Rows of one run: (model, mode, batch) to {system as it names itself: images a second}."""
    environment = dict(os.environ)
    if args.threads:
        environment["RAYON_NUM_THREADS"] = str(args.threads)
    with tempfile.TemporaryDirectory() as folder:
        out = os.path.join(folder, "rows.json")
        words = command(system, args, out)
        try:
            done = subprocess.run(words, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        except OSError as error:
            raise SystemExit(f"compare.py: {system} could not be started: {error}\n{__doc__.split('Peers: ')[1]}")
        if done.returncode != 0 or not os.path.exists(out):
            raise SystemExit(f"compare.py: {system} failed:\n{done.stdout}")
        with open(out) as file:
            steps = json.load(file)["steps"]
    rows = {}
    for step in steps:
        name = step["device"] if system != "tilegrad" else system
        rows.setdefault((step["model"], step["mode"], step["batch"]), {})[name] = step["images_per_second"]
    return rows


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cpu", help="cpu, gpu or software, for all [default: cpu]")
    parser.add_argument("--peers", default="pytorch", help="pytorch, burn, or both with a comma [default: pytorch]")
    parser.add_argument("--model", help="networks, separated by commas [default: all]")
    parser.add_argument("--batch", default="32,128", help="batch sizes [default: 32,128]")
    parser.add_argument("--threads", type=int, help="threads on the CPU, for all")
    parser.add_argument("--steps", type=int, default=30, help="steps of a run [default: 30]")
    parser.add_argument("--rounds", type=int, default=3, help="runs of each [default: 3]")
    parser.add_argument("--python", default=sys.executable, help="the Python that has PyTorch")
    parser.add_argument("--json", help="writes the figures of every round here")
    args = parser.parse_args()
    peers = args.peers.split(",")
    if set(peers) - {"pytorch", "burn"} or args.rounds < 1:
        parser.error("--peers takes pytorch and burn, --rounds at least 1")
    rounds = []
    for number in range(args.rounds):
        merged = {}
        # The other way round in every second round: nobody always runs on a machine that is warm.
        order = ["tilegrad", *peers] if number % 2 == 0 else [*reversed(peers), "tilegrad"]
        for system in order:
            print(f"round {number + 1} of {args.rounds}: {system}", file=sys.stderr, flush=True)
            for key, row in run(system, args).items():
                merged.setdefault(key, {}).update(row)
        rounds.append(merged)
    print(f"{'model':<14} {'mode':<6} {'batch':>6} {'tilegrad':>9} {'peer':>9} {'ratio':>6} {'lowest':>7} {'highest':>7}  peer")
    for key in rounds[0]:
        for peer in rounds[0][key]:
            pairs = [(r[key]["tilegrad"], r[key][peer]) for r in rounds if {"tilegrad", peer} <= r.get(key, {}).keys()]
            if peer == "tilegrad" or not pairs:
                continue
            ratios = [own / other for own, other in pairs]
            own, other = (statistics.median(column) for column in zip(*pairs))
            print(f"{key[0]:<14} {key[1]:<6} {key[2]:>6} {own:>9.0f} {other:>9.0f} {statistics.median(ratios):>6.2f} "
                  f"{min(ratios):>7.2f} {max(ratios):>7.2f}  {peer}")
    if args.json:
        listed = [{" ".join(map(str, key)): row for key, row in r.items()} for r in rounds]
        with open(args.json, "w") as file:
            json.dump(listed, file, indent=2)


if __name__ == "__main__":
    main()
