#!/bin/sh
# Installs the Debian packages that the integration tests need, when root; says what is missing otherwise.
set -u
tools="sshd:openssh-server ssh-keygen:openssh-client prometheus:prometheus prometheus-alertmanager:prometheus-alertmanager
  prometheus-node-exporter:prometheus-node-exporter restic:restic tmux:tmux ip:iproute2 nft:nftables mmdebstrap:mmdebstrap
  zstd:zstd setpriv:util-linux sudo:sudo victoria-metrics:victoria-metrics zsh:zsh fish:fish tcsh:tcsh
  chromium:chromium"
PATH=$PATH:/usr/sbin:/sbin
missing=
for pair in $tools; do
  command -v "${pair%%:*}" > /dev/null || missing="$missing ${pair##*:}"
done
ls /lib/*/security/pam_google_authenticator.so > /dev/null 2>&1 || missing="$missing libpam-google-authenticator"
[ -z "$missing" ] && exit 0
if [ "$(id -u)" != 0 ] || ! command -v apt-get > /dev/null; then
  echo "integration tests: not installed here:$missing (tests that need them are skipped, each with its reason)" >&2
  exit 0
fi
echo "integration tests: installing$missing"
export DEBIAN_FRONTEND=noninteractive
# The daemons are only started by the tests, on loopback, never as this machine's own services.
policy=/usr/sbin/policy-rc.d
if [ ! -e $policy ]; then
  printf '#!/bin/sh\nexit 101\n' > $policy && chmod 755 $policy
  trap 'rm -f $policy' EXIT
fi
# shellcheck disable=SC2086
apt-get install -y -qq --no-install-recommends $missing > /dev/null 2>&1 || {
  apt-get update -qq && apt-get install -y -qq --no-install-recommends $missing > /dev/null
}
