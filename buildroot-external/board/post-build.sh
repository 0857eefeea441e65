#!/bin/sh
# Lay AINOS over Buildroot's target tree, as `make image` does over its own.
# Buildroot passes the tree, then --variant, --arch and, for a release, --release.
set -eu

target=$1
shift
repository=$(cd "$(dirname "$0")/../.." && pwd)

# Start scripts and shell profiles of packages: nothing runs but what a unit names.
rm -rf "$target/etc/init.d" "$target/etc/network" "$target/etc/profile" "$target/etc/profile.d"
exec "$repository/scripts/rootfs" --lay "$target" "$@"
