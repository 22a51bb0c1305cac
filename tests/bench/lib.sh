# shellcheck shell=bash
# Functions of all benchmarks; sourced. Callers set three variables: the folder for all files, the file of measurements, and,
# for functions on states, the store.
: "${dir:=}" "${figures:=}" "${store:=}"

bench=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
export LC_ALL=C
# The caller's own store and settings must not matter.
unset KBAKE_STORE KBAKE_LOWER_STORES KBAKE_CHANNEL KBAKE_PROJECT

say() { printf '%s\n' "$*" >&2; }
fail() {
  say "FAILED: $*"
  exit 1
}
digest() { sha256sum "$1" | cut -d' ' -f1; }

# need TOOL…: all are there.
need() {
  local tool
  for tool in "$@"; do
    command -v "$tool" >/dev/null || { say "${tool##*/} is missing: run tests/setup.sh"; exit 1; }
  done
}

# Sets KBAKE to a new release build of this source, if the caller names no other.
need_kbake() {
  local source=$bench/../..
  export KBAKE_GIVEN=${KBAKE:+yes}
  if [ -z "${KBAKE:-}" ]; then
    need cargo
    cargo build --quiet --release --locked --manifest-path "$source/Cargo.toml"
    KBAKE=$(cd "${CARGO_TARGET_DIR:-$source/target}" && pwd)/release/kbake
  fi
  KBAKE=$(realpath -e "$KBAKE")
  export KBAKE
}

# measure [--sum] NAME COMMAND…: adds a line `NAME CPU WALL PEAK [SUM]` to the figures.
measure() {
  local sum=()
  if [ "$1" = --sum ]; then sum=(--sum) && shift; fi
  python3 "$bench/measure" "${sum[@]}" "$figures" "$@"
}

# timed NAME COMMAND…: the same, from a disk that has nothing to write, and then, as NAME+sync, how long the disk is
# busy with what the command left to it.
timed() {
  sync -f "$dir"
  measure "$@"
  measure "$1+sync" sync -f "$dir"
}

# --- States of a store --------------------------------------------------------------------------------------------
# A state is a list of the store's files. What was made later is forgotten by removing what is not in the list: so no
# state depends on how the store names things, and files that stay are not touched.

contents() { (cd "$store" && find actions blobs claims roots stamps -type f | sort); }
note() { mkdir -p "$dir/states" && contents >"$dir/states/$1"; }
# back_to NAME: fails, and changes nothing, when the store no longer has what it had.
back_to() {
  contents >"$dir/states/now"
  if [ -n "$(comm -23 "$dir/states/$1" "$dir/states/now")" ]; then return 1; fi
  (cd "$store" && comm -13 "$dir/states/$1" "$dir/states/now" | tr '\n' '\0' | xargs -0 -r rm -f --)
}
# has KIND: whether the store has action entries of a kind.
has() { compgen -G "$store/actions/$1-*.json" >/dev/null; }

# same NAME FILE: its digest is what it was when that name was first asked for in this run.
same() {
  local now
  now=$(digest "$2")
  if [ ! -e "$dir/digests/$1" ]; then
    mkdir -p "$dir/digests"
    echo "$now" >"$dir/digests/$1"
  fi
  [ "$(cat "$dir/digests/$1")" = "$now" ] || fail "$1: sha256:$now, the first time sha256:$(cat "$dir/digests/$1")"
}
