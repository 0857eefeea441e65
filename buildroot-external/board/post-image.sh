#!/bin/sh
# From Buildroot's tree and kernel to the disk image: the assembly that `make image` uses, too.
# Buildroot passes the directory of images, then what it passed to post-build.sh.
set -eu

images=$1
shift
repository=$(cd "$(dirname "$0")/../.." && pwd)
kernel=$images/bzImage
[ -e "$kernel" ] || kernel=$images/Image
exec "$repository/scripts/assemble" --root "$TARGET_DIR" --kernel "$kernel" \
	--boot "$images/systemd-boot" --out "$images/ainos" "$@"
