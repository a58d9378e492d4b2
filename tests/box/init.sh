#!/bin/bash
# PID 1 of a new box's namespaces; ends by becoming systemd.  Usage: init.sh ROOT HOSTNAME GOFILE
set -eu
R=$1
until [ -e "$3" ]; do sleep 0.01; done
hostname "$2"
mount --bind "$R" "$R"
mount -t proc proc "$R/proc"
mount --bind "$R/proc/sys" "$R/proc/sys"                                    # the machine's: read-only below ...
mount --bind "$R/proc/sys/vm/drop_caches" "$R/proc/sys/vm/drop_caches"      # ... except for this one file
mount -t tmpfs -o mode=755 tmpfs "$R/run"
cat /proc/sys/kernel/random/uuid > "$R/run/.boot_id"
mount --bind "$R/run/.boot_id" "$R/proc/sys/kernel/random/boot_id"
# Nothing comes of it unless a test asks for it (Box.real_caches): one page cache is everybody's, and every switch drops it.
: > "$R/run/.drop_caches"
mount --bind "$R/run/.drop_caches" "$R/proc/sys/vm/drop_caches"
mount -o remount,bind,ro "$R/proc/sys"
mount -t sysfs -o ro sysfs "$R/sys"
mount -t tmpfs -o mode=755 tmpfs "$R/dev"
for n in null zero full random urandom tty; do
  : > "$R/dev/$n"
  mount --bind /dev/$n "$R/dev/$n"
done
mkdir "$R/dev/pts" "$R/dev/shm"
mount -t tmpfs tmpfs "$R/dev/shm"
mount -t devpts -o newinstance,ptmxmode=0666,mode=620,gid=5 devpts "$R/dev/pts"
ln -s pts/ptmx "$R/dev/ptmx"
ln -s /proc/self/fd "$R/dev/fd"
C=$R/sys/fs/cgroup
LEGACY=
if [ -e /sys/fs/cgroup/cgroup.controllers ]; then
  mount -t cgroup2 cgroup2 "$C"
else                                                  # v1 controllers on this machine: give systemd those
  mount -t tmpfs -o mode=755 tmpfs "$C"
  for c in cpuacct memory pids; do
    mkdir "$C/$c"
    mount -t cgroup -o $c cgroup "$C/$c"
  done
  mkdir "$C/cpu" "$C/systemd" "$C/unified"
  mount --bind "$C/cpuacct" "$C/cpu"                  # systemd takes cpu and cpuacct for one
  mount -t cgroup -o none,name=systemd cgroup "$C/systemd"
  mount -t cgroup2 cgroup2 "$C/unified"
  LEGACY="SYSTEMD_CGROUP_ENABLE_LEGACY_FORCE=1 systemd.unified_cgroup_hierarchy=0"
fi
cd "$R"
mkdir -p .old
pivot_root . .old
umount -l /.old
# shellcheck disable=SC2086
exec env -i container=box PATH=/usr/sbin:/usr/bin:/sbin:/bin \
  setpriv --bounding-set -sys_time,-sys_module,-sys_rawio,-syslog \
  /lib/systemd/systemd $LEGACY < /dev/null > /dev/null 2>&1
