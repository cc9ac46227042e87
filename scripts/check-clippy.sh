#!/usr/bin/env sh
# `cargo xtask clippy`, from anywhere in the repository.
cd "$(dirname "$0")/.." && exec cargo xtask clippy "$@"
