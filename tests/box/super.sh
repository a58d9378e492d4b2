#!/bin/bash
# Holds one box's mounts and is its power switch; runs in a mount namespace of its own.
# Usage: super.sh WORKDIR NUMBER HOSTNAME TREE
set -u
W=$1 I=$2 NAME=$3 TREE=$4 R=$1/rw/root
echo $$ > "$W/super.pid"
mount -t tmpfs -o size=2g,mode=755 tmpfs "$W/rw"
mkdir "$W/rw/up" "$W/rw/wk" "$R"
mount -t overlay overlay -o "lowerdir=$TREE,upperdir=$W/rw/up,workdir=$W/rw/wk" "$R" || exit 1
echo "$NAME" > "$R/etc/hostname"
printf '127.0.0.1 localhost\n198.18.%s.2 %s\n' "$I" "$NAME" > "$R/etc/hosts"
tr -d - < /proc/sys/kernel/random/uuid > "$R/etc/machine-id"
rm -f "$R"/etc/ssh/ssh_host_*
ssh-keygen -q -t ed25519 -N '' -C "$NAME" -f "$R/etc/ssh/ssh_host_ed25519_key"
cp "$R/etc/ssh/ssh_host_ed25519_key.pub" "$W/hostkey.pub"
H=/sys/fs/cgroup
[ -e $H/cgroup.controllers ] || H=$(dirname $H/*/cgroup.procs)     # every hierarchy there is
while :; do
  for h in $H; do
    find "$h/sovbox-$I" -mindepth 1 -depth -type d -exec rmdir {} \; 2> /dev/null
    mkdir -p "$h/sovbox-$I"
    case $h in */cpuset)
      cat "$h/cpuset.cpus" > "$h/sovbox-$I/cpuset.cpus"
      cat "$h/cpuset.mems" > "$h/sovbox-$I/cpuset.mems" ;;
    esac
  done
  up=$(cut -d. -f1 /proc/uptime)
  (
    for h in $H; do echo 0 > "$h/sovbox-$I/cgroup.procs"; done
    exec nsenter --net=/run/netns/sovbox-$I unshare --pid --mount --uts --ipc --cgroup --time \
      --boottime -"$up" --monotonic -"$up" --fork --kill-child=KILL \
      bash "$W/init.sh" "$R" "$NAME" "$W/go"
  ) &
  u=$!
  echo $u > "$W/unshare.pid.new" && mv "$W/unshare.pid.new" "$W/unshare.pid"
  until pgrep -P $u > /dev/null || ! kill -0 $u 2> /dev/null; do sleep 0.01; done
  # on cgroup2 a process beside the box would cost it its controllers
  [ ! -e /sys/fs/cgroup/cgroup.controllers ] || echo $u > /sys/fs/cgroup/cgroup.procs
  touch "$W/go"
  wait $u
  rc=$?
  rm -f "$W/go"
  [ $rc = 129 ] || break                 # 129: reboot; 130: power off; 137: killed
done
touch "$W/stopped"
