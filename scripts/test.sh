#!/usr/bin/env bash
# Runs all tests. Options are cargo's: `scripts/test.sh -p tilegrad-data`, `scripts/test.sh -- --nocapture`.
#
# With debug assertions on; the crates that compute are optimised in this profile too, so that tests which train a
# network take seconds. And on a GPU or on the software driver that setup.sh installs, because a test that leaves the
# GPU out says nothing about it.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

scripts/setup.sh
# Without it Mesa complains on stderr at each start, also where there is no desktop that would have one.
export XDG_RUNTIME_DIR="${XDG_RUNTIME_DIR:-${TMPDIR:-/tmp}}"
export TILEGRAD_REQUIRE_GPU=1
cargo test --workspace "$@"

# The kernels once more, with the graphics layer's bounds checks, where one that reads past a buffer gives wrong numbers,
# and with their parameters in a uniform buffer, as on adapters without immediates.
if [ $# -eq 0 ]; then
    TILEGRAD_BOUNDS_CHECKS=1 TILEGRAD_PARAMS=uniform cargo test --test 'ops_*' --test hardware_kernels
fi
