#!/usr/bin/env sh
# `cargo xtask fmt`, from anywhere in the repository.
cd "$(dirname "$0")/.." && exec cargo xtask fmt "$@"
