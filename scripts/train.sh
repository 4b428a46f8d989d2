#!/usr/bin/env bash
# Trains a convolutional network on Fashion-MNIST on the GPU. Options are the example's: `scripts/train.sh --help`.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

scripts/setup.sh
exec cargo run --release --example fashion_mnist -- --device gpu "$@"
