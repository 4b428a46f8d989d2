#!/usr/bin/env python3
"""Times PyTorch on the networks of `examples/bench`, and writes JSON in the same form.

    pip install torch
    python scripts/peers/pytorch.py --threads 2 --batch 32,128 --json pytorch.json

On CUDA each step is timed eagerly and, for training and inference, as a CUDA graph that is replayed. A training step takes
a batch from images that lie on the device as bytes, scales it, and ends with the optimizer; loss and accuracy are summed on
the device. That is what `fit` does. A figure is the median over groups of ten steps, the first group left out.
"""

import argparse
import datetime
import json
import statistics
import time

try:
    import torch
    import torch.nn.functional as F
    from torch import nn
except ImportError:
    raise SystemExit("pytorch.py needs PyTorch: pip install torch")

STARTED = time.perf_counter()
GROUP = 10


def conv(inputs, outputs, kernel, padding, act):
    return [nn.Conv2d(inputs, outputs, kernel, padding=padding), act()]


def network(name):
    """The layers of a network and its optimizer, as in examples/bench/nets.rs."""
    relu, swish = nn.ReLU, nn.SiLU
    if name == "fashion_cnn":
        layers = [*conv(1, 32, 3, 1, relu), nn.MaxPool2d(2), *conv(32, 64, 3, 1, relu), nn.MaxPool2d(2), nn.Flatten(),
                  nn.Linear(3136, 100), relu(), nn.Dropout(0.4), nn.Linear(100, 10)]
    elif name == "mnist_convnet":
        layers = [*conv(1, 32, 3, 0, relu), nn.MaxPool2d(2), *conv(32, 64, 3, 0, relu), nn.MaxPool2d(2),
                  *conv(64, 128, 3, 0, relu), nn.Flatten(), nn.Linear(1152, 10)]
    elif name == "swish_net":
        layers = [*conv(1, 3, 5, 0, swish), *conv(3, 6, 5, 0, swish), nn.Flatten(), nn.Linear(2400, 84), swish(),
                  nn.Linear(84, 10)]
    else:
        layers = [*conv(1, 32, 3, 0, relu), *conv(32, 64, 3, 0, relu), *conv(64, 128, 3, 0, relu), nn.Flatten(),
                  nn.Linear(61952, 10)]
    return nn.Sequential(*layers)


def optimizer(name, model, capturable):
    if name in ("mnist_convnet", "no_max_pool"):
        return torch.optim.RMSprop(model.parameters(), lr=1e-3, alpha=0.9, eps=1e-7, capturable=capturable)
    return torch.optim.Adam(model.parameters(), eps=1e-7, capturable=capturable, fused=capturable or None)


class Job:
    """A network with its data on a device, and its steps."""

    def __init__(self, name, device, batch, layout, graph):
        self.batch, self.device, self.layout = batch, device, layout
        torch.manual_seed(42)
        self.model = network(name).to(device)
        if layout == "channels_last":
            self.model = self.model.to(memory_format=torch.channels_last)
        self.optimizer = optimizer(name, self.model, graph)
        count = batch * GROUP
        self.images = torch.randint(0, 256, (count, 1, 28, 28), dtype=torch.uint8, device=device)
        self.labels = torch.arange(count, device=device) % 10
        self.order = torch.randperm(count, device=device)
        self.index = self.order[:batch].clone()
        self.loss = torch.zeros((), device=device)
        self.correct = torch.zeros((), device=device)

    def inputs(self):
        x = self.images[self.index].float() / 255
        return x.to(memory_format=torch.channels_last) if self.layout == "channels_last" else x

    def train(self):
        x, y = self.inputs(), self.labels[self.index]
        self.optimizer.zero_grad(set_to_none=True)
        logits = self.model(x)
        losses = F.cross_entropy(logits, y, reduction="none")
        losses.mean().backward()
        self.optimizer.step()
        with torch.no_grad():
            self.loss += losses.sum()
            self.correct += (logits.argmax(1) == y).sum()

    def infer(self):
        with torch.inference_mode():
            F.softmax(self.model(self.inputs()), dim=1)

    def next(self, i):
        start = i % GROUP * self.batch
        self.index.copy_(self.order[start:start + self.batch])


def synchronize(device):
    if device == "cuda":
        torch.cuda.synchronize()


def captured(step):
    """A CUDA graph of a step: warmed up on a stream of its own, as PyTorch asks for."""
    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        for _ in range(3):
            step()
    torch.cuda.current_stream().wait_stream(stream)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        step()
    return graph.replay


def measure(name, device, batch, layout, graph, mode, steps, since):
    if device == "cuda":
        torch.cuda.reset_peak_memory_stats()
    job = Job(name, device, batch, layout, graph)
    job.model.train(mode == "train")
    step = job.train if mode == "train" else job.infer
    step()
    synchronize(device)
    first = time.perf_counter() - since
    if graph:
        step = captured(step)
    seconds = []
    for _ in range(1 + max(1, -(-steps // GROUP))):
        synchronize(device)
        start = time.perf_counter()
        for i in range(GROUP):
            job.next(i)
            step()
        synchronize(device)
        seconds.append((time.perf_counter() - start) / GROUP)
    time_of_step = statistics.median(seconds[1:])
    system = f"PyTorch {torch.__version__} {device}"
    if device == "cpu":
        system += f", {torch.get_num_threads()} threads"
    elif graph:
        system += " graph"
    return {
        "model": name,
        "device": f"{system}, {layout}",
        "mode": mode,
        "batch": batch,
        "ms_per_step": 1e3 * time_of_step,
        "images_per_second": batch / time_of_step,
        "first_step_s": first,
        "peak_device_bytes": torch.cuda.max_memory_allocated() if device == "cuda" else 0,
    }


def main():
    names = ["fashion_cnn", "mnist_convnet", "swish_net", "no_max_pool"]
    words = lambda text: text.split(",")
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--threads", type=int, default=None, help="threads on the CPU [default: PyTorch's]")
    parser.add_argument("--model", type=words, default=names, help="networks, separated by commas [default: all]")
    parser.add_argument("--batch", type=words, default=["32", "128"], help="batch sizes [default: 32,128]")
    parser.add_argument("--layout", type=words, default=["nchw", "channels_last"], help="[default: both]")
    parser.add_argument("--steps", type=int, default=30, help="steps to time, rounded up to tens [default: 30]")
    parser.add_argument("--json", help="writes the rows here")
    args = parser.parse_args()
    unknown = set(args.model) - set(names) | set(args.layout) - {"nchw", "channels_last"}
    if unknown or not all(b.isdigit() and int(b) > 0 for b in args.batch):
        parser.error(f"not known: {', '.join(sorted(unknown)) or 'a batch size of ' + ','.join(args.batch)}")
    if args.device == "cuda" and not torch.cuda.is_available():
        parser.error("this PyTorch finds no CUDA device")
    if args.threads:
        torch.set_num_threads(args.threads)
    rows = []
    print(f"{'model':<14} {'mode':<6} {'batch':>6} {'ms_per_step':>12} {'images/s':>10} {'first_step_s':>13}  system")
    for name in args.model:
        for batch in map(int, args.batch):
            for layout in args.layout:
                for graph in [False, True] if args.device == "cuda" else [False]:
                    for mode in ["train", "infer"]:
                        since = time.perf_counter() if rows else STARTED
                        row = measure(name, args.device, batch, layout, graph, mode, args.steps, since)
                        print(f"{name:<14} {mode:<6} {batch:>6} {row['ms_per_step']:>12.2f} "
                              f"{row['images_per_second']:>10.0f} {row['first_step_s']:>13.2f}  {row['device']}", flush=True)
                        rows.append(row)
    if args.json:
        date = datetime.datetime.now(datetime.timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")
        with open(args.json, "w") as file:
            json.dump({"date": date, "device": rows[0]["device"], "steps": rows}, file, indent=2)


if __name__ == "__main__":
    main()
