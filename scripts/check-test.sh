#!/usr/bin/env sh
# `cargo xtask test`, from anywhere in the repository.
cd "$(dirname "$0")/.." && exec cargo xtask test "$@"
