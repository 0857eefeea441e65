#!/bin/sh
# From the tree that post-build.sh made and the kernel to the disk image: the assembly that
# `make image` uses, too.
# Buildroot passes the directory of images, then what it passed to post-build.sh.
set -eu

images=$1
shift
repository=$(cd "$(dirname "$0")/../.." && pwd)
kernel=$images/bzImage
[ -e "$kernel" ] || kernel=$images/Image
exec "$repository/scripts/assemble" --root "$BUILD_DIR/ainos-root" --kernel "$kernel" \
	--boot "$images/systemd-boot" --out "$images/ainos" "$@"
