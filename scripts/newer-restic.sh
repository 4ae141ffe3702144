#!/bin/bash
# Fetches the restic of the next Debian release and prints the path of the binary; the interop tests take it by RESTIC_NEWER_BIN.
# Debian 12 has 0.14, which is what many people run, and Debian 13 has 0.18: a repository must please both.
# The package is verified by apt and unpacked into FOLDER; nothing is installed and the machine's own package lists stay as they are.
#   scripts/newer-restic.sh FOLDER
set -euo pipefail

release=trixie
folder=${1:?say where to put it: scripts/newer-restic.sh FOLDER}
binary=$folder/usr/bin/restic

if [ ! -x "$binary" ]; then
  command -v apt-get >/dev/null && command -v dpkg-deb >/dev/null || { echo 'newer-restic: needs apt-get and dpkg-deb' >&2; exit 1; }
  work=$(mktemp -d)
  trap 'rm -rf "$work"' EXIT
  mkdir -p "$work/lists/partial" "$work/archives/partial" "$folder"
  # The mirror that this machine uses already; a fresh image may know none before its first update.
  mirror=$(apt-get indextargets --format '$(REPO_URI)' 'Created-By: Packages' 'Origin: Debian' 2>/dev/null | grep -v security | head -n 1) || true
  mirror=${mirror:-http://deb.debian.org/debian}
  echo "deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] $mirror $release main" >"$work/sources.list"
  own_apt() {
    apt-get -qq -o Dir::Etc::SourceList="$work/sources.list" -o Dir::Etc::SourceParts=/dev/null -o Dir::State::Lists="$work/lists" \
      -o Dir::Cache="$work" -o APT::Sandbox::User=root -o Acquire::Retries=3 "$@" >&2
  }
  own_apt update
  (cd "$work" && own_apt download restic)
  dpkg-deb --extract "$work"/restic_*.deb "$folder"
fi

"$binary" version >&2
echo "$binary"
