#!/usr/bin/env sh
# `cargo xtask test-all-features`, from anywhere in the repository.
cd "$(dirname "$0")/.." && exec cargo xtask test-all-features "$@"
