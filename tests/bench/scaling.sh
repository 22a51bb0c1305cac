# shellcheck shell=bash
# The curves of tests/bench/run --scaling, which sources this: cost by size of the image, number of roles and threads.
# Each point is measured ROUNDS times (here: default 1), because the longest take minutes.
: "${dir:=}" "${out:=}" "${project:=}" "${inputs:=}" "${peers:=}" "${runtime:=}" "${first:=}" "${last:=}"
rounds=${ROUNDS:-1}
fact rounds "$rounds"
# In MiB, as names of roles have no dots.
read -ra sizes <<<"$(awk '{ for (i = 1; i <= NF; i++) printf "%d ", $i * 1024 }' <<<"${SIZES:-0.5 1 2 4 8}")"
read -ra counts <<<"${ROLES:-1 2 4 8 16}"

# Payloads are the programs again and again. In each copy every stretch of 64 KiB begins with another number, so that no
# two clusters are equal wherever files lie, and all compress as the programs do.
scaling_recipes() {
  local count size name
  local -a names
  say "payloads of ${sizes[*]} MiB"
  python3 - "$inputs" "$project/recipes" "${sizes[@]}" >"$dir/payloads" <<'PYTHON'
import sys
from pathlib import Path

inputs, recipes, sizes = Path(sys.argv[1]), Path(sys.argv[2]), [int(size) for size in sys.argv[3:]]
originals = [line.split()[1] for line in (inputs / "list").read_text().splitlines()]
total, mark, copy = 0, 0, 0
folder = recipes / "payload"
folder.mkdir()
while total < max(sizes) * 2**20:
    for name in originals:
        if total >= max(sizes) * 2**20:
            break
        content = bytearray((inputs / "files" / name).read_bytes())
        for at in range(0, len(content) - 15, 65536):
            mark += 1
            content[at : at + 16] = mark.to_bytes(16, "little")
        target = folder / f"{copy:02}-{name}"
        target.write_bytes(content)
        target.chmod(0o755)
        total += len(content)
        print(total, f"payload/{target.name}")
    copy += 1
PYTHON
  for size in "${sizes[@]}"; do
    # So many files that the size is reached.
    mapfile -t names < <(awk -v most="$size" 'before < most * 1024 ^ 2 { print $2 } { before = $1 }' "$dir/payloads")
    recipe "size-$size" "${names[@]}"
    fact "payload-$size" "$(awk -v n="${#names[@]}" 'NR == n { print $1 }' "$dir/payloads")"
  done
  # What all have, and as much of its own for each: a copy of a few programs.
  for ((count = 1; count <= counts[${#counts[@]} - 1]; count++)); do
    name=$(printf 'role-%02d' "$count")
    mkdir "$project/recipes/$name"
    python3 - "$inputs/files/podman" "$project/recipes/$name/own" "$count" <<'PYTHON'
import sys

content = bytearray(open(sys.argv[1], "rb").read())
for at in range(0, len(content) - 15, 65536):
    content[at : at + 16] = (at * 1000 + int(sys.argv[3])).to_bytes(16, "big")
open(sys.argv[2], "wb").write(content)
PYTHON
    recipe "$name" "${runtime[@]}" "$name/own"
  done
}

# Our base's filesystem has half a GiB of room, and grows at a node's first boot. The peer's grows before anything is measured.
roomy_base() {
  local disk="$peers/base.raw?offset=$((first * 512))" size
  size=$(stat -c %s "$peers/base.raw")
  {
    e2fsck -fp "$disk"
    resize2fs "$disk" "$(((last - first + 1) / 2))K"
    # resize2fs cuts the file where the filesystem would end without its offset, and with it the second partition table.
    truncate -s "$size" "$peers/base.raw"
    sgdisk -e "$peers/base.raw"
    e2fsck -fn "$disk"
    sgdisk -v "$peers/base.raw"
  } >"$peers/resize.log" 2>&1 || fail "$(cat "$peers/resize.log")"
}

# of_size SIZE: cold with one thread and two, warm, and the peer.
of_size() {
  local jobs role=size-$1
  for jobs in 1 2; do
    base_frames
    rm -f "$out/$role.qcow2"
    timed_bake "$role-cold-$jobs" "$role" --jobs "$jobs"
  done
  frames_state
  back_to frames || fail "the store lost compressed clusters"
  rm "$out/$role.qcow2"
  timed_bake "$role-warm-2" "$role" --jobs 2
  rm "$out/$role.qcow2"
  base_frames
  peer "$role-peer" "$role"
  rm "$peers/$role".{raw,qcow2}
}

# of_roles COUNT: so many roles in one build.
of_roles() {
  local jobs
  local -a roles
  mapfile -t roles < <(seq -f 'role-%02g' "$1")
  for jobs in 1 2; do
    base_frames
    rm -f "$out"/role-*.qcow2
    timed_bake "roles-$1-cold-$jobs" "${roles[@]}" --jobs "$jobs"
  done
  frames_state
  back_to frames || fail "the store lost compressed clusters"
  rm "$out"/role-*.qcow2
  timed_bake "roles-$1-warm-2" "${roles[@]}" --jobs 2
  rm "$out"/role-*.qcow2
  base_frames
  peer "roles-$1-peer" "${roles[@]}"
  rm "$peers"/role-*.{raw,qcow2}
}

scaling() {
  local round point
  roomy_base
  for round in $(seq "$rounds"); do
    for point in "${sizes[@]}"; do
      say "round $round of $rounds: $point MiB"
      of_size "$point"
    done
    for point in "${counts[@]}"; do
      say "round $round of $rounds: $point roles"
      of_roles "$point"
    done
  done
  rm -rf "$peers" "$project/recipes/payload" "$out"
}
