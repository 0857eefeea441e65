#!/bin/sh
# From Buildroot's tree and kernel to the disk image: the assembly that `make image` uses, too.
set -eu

repository=$(cd "$(dirname "$0")/../../.." && pwd)
exec "$repository/scripts/assemble" \
	--root "$TARGET_DIR" --kernel "$BINARIES_DIR/bzImage" --out "$BINARIES_DIR/ainos"
