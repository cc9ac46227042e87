#!/usr/bin/env sh
# `cargo xtask bench`, from anywhere in the repository.
cd "$(dirname "$0")/.." && exec cargo xtask bench "$@"
