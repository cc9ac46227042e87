# Every recipe is a command of `cargo xtask`, which holds the logic; `just` alone lists them.

default:
    @just --list

# everything CI does; changes nothing
verify:
    cargo xtask verify

# formatting, lints, documentation
check:
    cargo xtask check

# formats, and applies what clippy can fix
fix:
    cargo xtask fix

fmt:
    cargo xtask fmt

clippy:
    cargo xtask clippy

build:
    cargo xtask build

tidy:
    cargo xtask tidy

test:
    cargo xtask test

test-all-features:
    cargo xtask test-all-features

examples:
    cargo xtask examples

loom:
    cargo xtask loom

# fuzz [--seconds N] [TARGET]
fuzz *ARGS:
    cargo xtask fuzz {{ARGS}}

asan:
    cargo xtask asan

# judges [--long]
judges *ARGS:
    cargo xtask judges {{ARGS}}

# crash [--long]
crash *ARGS:
    cargo xtask crash {{ARGS}}

canaries:
    cargo xtask canaries

bench:
    cargo xtask bench

# instructions [--accept]
instructions *ARGS:
    cargo xtask instructions {{ARGS}}

coverage:
    cargo xtask coverage
