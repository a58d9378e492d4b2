#!/bin/bash
# Takes a box away, whatever state it is in.  Usage: down.sh WORKDIR NUMBER
W=$1 I=$2
for f in /sys/fs/cgroup/freezer/sovbox-$I/freezer.state; do [ ! -e "$f" ] || echo THAWED > "$f"; done
[ ! -e /sys/fs/cgroup/sovbox-$I/cgroup.freeze ] || echo 0 > /sys/fs/cgroup/sovbox-$I/cgroup.freeze
if [ -s "$W/super.pid" ] && [ ! -e "$W/stopped" ]; then
  s=$(cat "$W/super.pid")
  if tr '\0' ' ' < "/proc/$s/cmdline" 2> /dev/null | grep -qF "$W/super.sh"; then
    for u in $(pgrep -P "$s" -f 'unshare --pid|nsenter|bash'); do
      for p in $(pgrep -P "$u"); do kill -9 "$p" 2> /dev/null; done      # PID 1 of the box: all of it dies
    done
    for _ in $(seq 40); do
      [ -e "$W/stopped" ] && break
      kill -0 "$s" 2> /dev/null || break
      sleep 0.05
    done
    kill -9 "$s" 2> /dev/null
  fi
fi
ip link del sovbox$I 2> /dev/null
ip route del unreachable 198.18.$I.0/30 metric 9999 2> /dev/null
ip netns del sovbox-$I 2> /dev/null
for h in /sys/fs/cgroup/sovbox-$I /sys/fs/cgroup/*/sovbox-$I; do
  [ -d "$h" ] || continue
  for _ in $(seq 20); do
    find "$h" -depth -type d -exec rmdir {} \; 2> /dev/null
    [ -d "$h" ] || break
    sleep 0.05
  done
done
rm -rf "$W"
exit 0
