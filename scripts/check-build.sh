#!/usr/bin/env sh
# `cargo xtask build`, from anywhere in the repository.
cd "$(dirname "$0")/.." && exec cargo xtask build "$@"
