#!/usr/bin/env bash
# Trains a convolutional network on Fashion-MNIST on the GPU. Options are the example's: `scripts/train.sh --help`.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

scripts/setup.sh
# Without it Mesa complains on stderr at each start, also where there is no desktop that would have one.
export XDG_RUNTIME_DIR="${XDG_RUNTIME_DIR:-${TMPDIR:-/tmp}}"
exec cargo run --release --example fashion_mnist -- --device gpu "$@"
