#!/bin/sh
# Make Buildroot's target tree the one that the assembly expects. Buildroot passes the tree's path.
set -eu

target=$1

# The overlay is written for Debian's interpreter; this tree has the one that Buildroot made, to
# which python3 is a link.
interpreter=$(basename "$(readlink -f "$target/usr/bin/python3")")
sed -i "1s|^#!/usr/bin/python3[.0-9]*|#!/usr/bin/$interpreter|" "$target/usr/sbin/init"

# Where PID 1 mounts, and what services write at run time.
mkdir -p "$target/var/lib/ainos" "$target/efi"
ln -sfn /run/ainit/resolv.conf "$target/etc/resolv.conf"

# Start scripts of packages: nothing runs but what a unit names.
rm -rf "$target/etc/init.d" "$target/etc/network" "$target/etc/profile" "$target/etc/profile.d"
