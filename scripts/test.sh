#!/usr/bin/env bash
# Runs all tests. Options are cargo's: `scripts/test.sh -p tilegrad-data`, `scripts/test.sh -- --nocapture`.
#
# In release, because tests that train a network take minutes without optimisation; and on a GPU or on the software
# driver that setup.sh installs, because a test that leaves the GPU out says nothing about it.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

scripts/setup.sh
export TILEGRAD_REQUIRE_GPU=1
exec cargo test --workspace --release "$@"
