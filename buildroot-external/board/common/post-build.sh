#!/bin/sh
# Lay AINOS over Buildroot's target tree, as `make image` does over its own. Buildroot passes the path.
set -eu

target=$1
repository=$(cd "$(dirname "$0")/../../.." && pwd)

# Start scripts of packages: nothing runs but what a unit names.
rm -rf "$target/etc/init.d" "$target/etc/network" "$target/etc/profile" "$target/etc/profile.d"

"$repository/scripts/rootfs" --lay "$target"

# The overlay names Debian's interpreter; this tree has its own, to which python3 is a link.
interpreter=$(basename "$(readlink -f "$target/usr/bin/python3")")
sed -i "1s|^#!/usr/bin/python3[.0-9]*|#!/usr/bin/$interpreter|" "$target/usr/sbin/init"
