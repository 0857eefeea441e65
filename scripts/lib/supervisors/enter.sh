#!/bin/sh
# Make the ground of one supervisor inside fresh namespaces, then become it as PID 1.
#
#   enter.sh ROOT SCRATCH PROGRAM ...     as the first process of `unshare --pid --mount ...`
#
# ROOT is read only; SCRATCH holds what is written, and SCRATCH/bench is /bench inside.
set -eu
root=$1 scratch=$2
shift 2
mount --make-rprivate /
mkdir -p "$scratch/upper" "$scratch/work" "$scratch/merged" "$scratch/bench"
mount -t overlay overlay -o "lowerdir=$root,upperdir=$scratch/upper,workdir=$scratch/work" "$scratch/merged"
cd "$scratch/merged"
mkdir -p bench dev old proc run sys tmp
mount --bind "$scratch/bench" bench
mount -t proc proc proc
mount -t sysfs sysfs sys
mount -t cgroup2 cgroup2 sys/fs/cgroup
mount -t tmpfs -o mode=755 tmpfs run
mount -t tmpfs -o mode=755 tmpfs dev
for name in null zero full random urandom tty; do
	: >"dev/$name"
	mount --bind "/dev/$name" "dev/$name"
done
for name in console kmsg; do
	: >"dev/$name"
	mount --bind /dev/null "dev/$name"
done
mkdir dev/pts dev/shm
mount -t devpts devpts dev/pts
mount -t tmpfs tmpfs dev/shm
ln -s /proc/self/fd dev/fd
pivot_root . old
umount -l /old
exec /bench/service exec /bench/records "$@"
