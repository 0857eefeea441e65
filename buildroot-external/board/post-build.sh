#!/bin/sh
# Lay AINOS over a copy of Buildroot's target tree, as `make image` does over its own. Buildroot's
# stays as it is, for the next `make`.
# Buildroot passes its tree, then --variant, --arch and, for a release, --release.
set -eu

target=$1
shift
repository=$(cd "$(dirname "$0")/../.." && pwd)
root=$BUILD_DIR/ainos-root

rm -rf "$root"
cp -a "$target" "$root"
# Nothing runs but what a unit names, and a shell is its program alone.
rm -rf "$root/etc/init.d" "$root/etc/network" "$root/etc/profile" "$root/etc/profile.d" \
	"$root/THIS_IS_NOT_YOUR_ROOT_FILESYSTEM"
find "$root" -lname '*busybox' -delete
exec "$repository/scripts/rootfs" --lay "$root" --kernel "$AINOS_LINUX" \
	--python "$HOST_DIR/bin/python3" --components "$BUILD_DIR/ainos-packages.cdx.json" \
	--components "$BUILD_DIR/ainos-wheels.cdx.json" "$@"
