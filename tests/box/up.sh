#!/bin/bash
# Boots a box and returns when sshd greets.  Usage: up.sh WORKDIR NUMBER HOSTNAME TREE
set -eu
here=$(cd "$(dirname "$0")" && pwd)
W=$1 I=$2 NAME=$3 TREE=$4
mkdir -p "$W/rw"
cp "$here/init.sh" "$here/super.sh" "$W/"
ip netns add sovbox-$I
ip link add sovbox$I type veth peer name eth0 netns sovbox-$I
ip addr add 198.18.$I.1/30 dev sovbox$I
ip link set sovbox$I up
ip route add unreachable 198.18.$I.0/30 metric 9999        # never out by the default route while the link is down
ip -n sovbox-$I addr add 198.18.$I.2/30 dev eth0
ip -n sovbox-$I link set eth0 up
ip -n sovbox-$I link set lo up
setsid nohup unshare --mount bash "$W/super.sh" "$W" "$I" "$NAME" "$TREE" > "$W/log" 2>&1 < /dev/null &
for _ in $(seq 600); do
  if timeout 1 bash -c "exec 3<>/dev/tcp/198.18.$I.2/22; head -c 4 <&3" 2> /dev/null | grep -q SSH; then
    echo "198.18.$I.2 $(cut -d' ' -f1,2 "$W/hostkey.pub")" > "$W/known_hosts"
    exit 0
  fi
  [ ! -e "$W/stopped" ] || break
  sleep 0.05
done
echo "the box did not come up:" >&2
tail -5 "$W/log" >&2
exit 1
