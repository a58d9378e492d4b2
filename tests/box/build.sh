#!/bin/bash
# Builds the root file system that every test box boots from.  Usage: build.sh KEYDIR CODENAME
# CODENAME is Debian's bookworm or trixie, or Ubuntu's noble.  KEYDIR/tree is the result; the bare system below it is
# kept as a tar beside KEYDIR, so that a changed unit file costs two seconds and not a download.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
B=$1 suite=$2
root=$(dirname "$B")
base=$root/base-$suite-$(sha256sum < "$here/packages.txt" | cut -c1-12).tar.zst
T=$B/tree.new
rm -rf "$T" "$B/tree" "$B/built"
mkdir -p "$T"
export DEBIAN_FRONTEND=noninteractive LC_ALL=C

for tool in mmdebstrap nft zstd tar ip; do
  command -v $tool > /dev/null && continue
  apt-get install -y -qq --no-install-recommends mmdebstrap nftables zstd iproute2 debian-archive-keyring > /dev/null 2>&1 || {
    apt-get update -qq
    apt-get install -y -qq --no-install-recommends mmdebstrap nftables zstd iproute2 debian-archive-keyring > /dev/null
  }
  break
done

if [ -f "$base" ]; then
  tar -C "$T" --zstd --numeric-owner -xpf "$base"
else
  # A machine of that release lends its own package sources; any other leaves the choice to mmdebstrap.
  sources=() options=()
  for f in /etc/apt/sources.list /etc/apt/sources.list.d/*.list /etc/apt/sources.list.d/*.sources; do
    [ -f "$f" ] && grep -q "^[^#]*\b$suite\b" "$f" && sources+=("$f")
  done
  if [ "$suite" = noble ]; then
    options+=(--components=main,universe)
    keys=/usr/share/keyrings/ubuntu-archive-keyring.gpg
    if [ ! -f $keys ]; then                              # Debian ships Ubuntu's keys as a package, signed by its own
      mmdebstrap -q --mode=root --variant=extract --include=ubuntu-keyring trixie "$B/keys"
      keys=$B/keys$keys
    fi
    options+=(--keyring="$keys")
  fi
  mmdebstrap -q --mode=root --variant=minbase --dpkgopt=force-unsafe-io \
    --dpkgopt='path-exclude=/usr/share/man/*' --dpkgopt='path-exclude=/usr/share/doc/*' \
    --dpkgopt='path-exclude=/usr/share/locale/*' --aptopt='Acquire::Retries "3"' "${options[@]}" \
    --include="$(paste -sd, "$here/packages.txt")" "$suite" "$T" "${sources[@]}"
  rm -rf "$B/keys"
  tar -C "$T" --zstd --numeric-owner -cf "$base.$$" . && mv "$base.$$" "$base"
fi

[ -f "$B/key" ] || ssh-keygen -q -t ed25519 -N '' -C sovtui-test-box -f "$B/key"

# the operator (key login, journal, lingering user manager), somebody with fewer rights, the engines' user
chroot "$T" useradd -m -s /bin/bash -G systemd-journal ops
chroot "$T" useradd -m -s /bin/bash viewer
chroot "$T" useradd -r -s /usr/sbin/nologin engine
for u in ops viewer; do
  mkdir -m 700 "$T/home/$u/.ssh"
  install -m 600 "$B/key.pub" "$T/home/$u/.ssh/authorized_keys"
  chroot "$T" chown -R $u:$u /home/$u/.ssh
done
# ops may use the containers of the box, which are root's, through their socket: what group docker is elsewhere
chroot "$T" groupadd -r docker
chroot "$T" usermod -aG docker ops
mkdir -p "$T/home/ops/.config/containers"
printf '[engine]\nremote = true\nactive_service = "box"\n[engine.service_destinations.box]\nuri = "unix:///run/podman/podman.sock"\n' \
  > "$T/home/ops/.config/containers/containers.conf"
chroot "$T" chown -R ops:ops /home/ops/.config
mkdir -p "$T/var/lib/systemd/linger"
: > "$T/var/lib/systemd/linger/ops"
install -m 440 "$here/sudoers" "$T/etc/sudoers.d/sovtui"
chroot "$T" visudo -cq

# everything that is a plain file lies in tree/ the way it lies in the box
cp -r --preserve=mode "$here/tree/." "$T/"
install -m 755 "$here/pretend_engine.py" "$T/usr/local/lib/pretend/pretend_engine.py"
mkdir -p "$T/var/log/journal"

# a restic repository that only root can read
mkdir -p -m 700 "$T/etc/restic" "$T/srv/restic"
head -c 18 /dev/urandom | base64 > "$T/etc/restic/password"
chmod 600 "$T/etc/restic/password"
chroot "$T" restic -q --no-cache -r /srv/restic --password-file /etc/restic/password init

# nothing that waits for devices, reaches for the network, or would touch the machine underneath
chroot "$T" systemctl -q mask systemd-sysctl.service systemd-modules-load.service systemd-udevd.service \
  systemd-networkd.service systemd-resolved.service systemd-timesyncd.service systemd-remount-fs.service \
  kmod-static-nodes.service getty.target console-getty.service dev-hugepages.mount dev-mqueue.mount \
  sys-kernel-debug.mount sys-kernel-tracing.mount sys-kernel-config.mount sys-fs-fuse-connections.mount \
  apt-daily.timer apt-daily-upgrade.timer e2scrub_all.timer dpkg-db-backup.timer fstrim.timer \
  podman-auto-update.timer
chroot "$T" systemctl -q disable podman.service podman-restart.service podman-auto-update.service
chroot "$T" systemctl -q enable ssh prometheus prometheus-alertmanager prometheus-node-exporter \
  restartme.service backup-nas.timer podman.socket
chroot "$T" systemctl -q set-default multi-user.target
mv "$T" "$B/tree"
touch "$B/built"
