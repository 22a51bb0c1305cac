# Daily commands. Each recipe is one line, which works as well when it is typed without just.
# `just` lists them; CONTRIBUTING.md explains them.

# list the recipes
default:
    @just --list --unsorted

# build the release binary, target/release/kbake
build:
    cargo build --release --locked

# run kbake: `just kbake build --channel debian etcd`
kbake *args:
    cargo run --release --locked -- {{ args }}

# unit tests without the fault injection; FILTER is a module path such as `formats::disk`
unit filter="":
    cargo test --locked --lib -- --skip faults {{ filter }}

# one test program of tests/, such as `integration`; FILTER is a module path such as `cli::fetch`
program name filter="":
    cargo test --locked --test {{ name }} -- {{ filter }}

# fault injection into every change of the disk, in every way; slow
faults:
    KBAKE_TEST_FAULTS_ALL=1 cargo test --locked --lib faults

# everything, as CI runs it; `just test` installs the host packages first, `just test --no-setup` does not
test *args:
    tests/run {{ args }}

# lints, as CI runs them
lint:
    cargo clippy --locked --all-targets -- -D warnings

# format the source
fmt:
    cargo fmt

# links and paths in the documents
links:
    tests/links

# write what the tests find over the goldens, and show the difference for review
golden:
    SNAPSHOTS=overwrite cargo test --locked --lib --test integration -- as_recorded && git diff tests/golden

# fuzz every parser: `just fuzz` for two seconds each, `just fuzz 600 tar bundle` for ten minutes each
fuzz *args:
    tests/fuzz/run {{ args }}

# the benchmark suite and its peers; options are at the top of tests/bench/run
bench *args:
    tests/bench/run {{ args }}

# one acceptance script on a cluster of real Kubernetes, as root: `just acceptance ha /var/tmp/kbake`
acceptance name work:
    tests/acceptance/{{ name }} "$(tests/kubernetes/build --folder)" {{ work }}
