#!/usr/bin/env sh
# `cargo xtask coverage`, from anywhere in the repository.
cd "$(dirname "$0")/.." && exec cargo xtask coverage "$@"
