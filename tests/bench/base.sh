# shellcheck shell=bash
# The installation of a base compared with mmdebstrap's, with its own defaults; sourced by tests/bench/run --with base.
: "${dir:=}" "${store:=}" "${ours:=}"

# The same packages, byte for byte, in a folder, as kbake has them in its store. mmdebstrap does less: it checks no package
# (the folder is trusted), and its tree, a tar, depends on the clock.
base_peer() {
  local debs=$dir/debs name hash
  rm -rf "$debs"
  mkdir "$debs"
  "${ours[@]}" plan bare >"$dir/plan"
  while read -r name hash; do
    cp "$store/blobs/sha256/$hash" "$debs/$name.deb"
  done < <(awk '$1 == "deb" { print $2, $3 }' "$dir/plan")
  (cd "$debs" && dpkg-scanpackages --multiversion . >Packages 2>"$dir/scan.log") || fail "$(tail -5 "$dir/scan.log")"
  say "the same packages by mmdebstrap"
  sync -f "$dir"
  measure --sum base-mmdebstrap mmdebstrap --quiet --variant=apt --hook-dir=/usr/share/mmdebstrap/hooks/merged-usr \
    --include="$(awk '$1 == "deb" { printf "%s%s", comma, $2; comma = "," }' "$dir/plan")" \
    bookworm "$dir/base.tar" "deb [trusted=yes] copy:$debs ./"
  rm -rf "$debs" "$dir/base.tar" "$dir/plan"
}
