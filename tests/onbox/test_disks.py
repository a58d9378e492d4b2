"""Which disks a host tells of."""

from __future__ import annotations

import os

import pytest

from sovtui.onbox import box, disks

MOUNTS = """\
proc /proc proc rw 0 0
/dev/nvme0n1p2 / ext4 rw 0 0
/dev/nvme0n1p2 /var/lib/docker/bind ext4 rw 0 0
/dev/loop3 /snap/core squashfs ro 0 0
tank/data /srv/my\\040data zfs rw 0 0
nas:/volume1 /mnt/nas nfs4 rw 0 0
tmpfs /run tmpfs rw 0 0
broken line
"""


def test_only_disks_of_the_host_itself_and_the_shortest_place_first() -> None:
    assert disks.places(MOUNTS) == ["/", "/srv/my data", "/var/lib/docker/bind"]


def test_the_root_is_told_with_what_a_user_may_still_write() -> None:
    root = next(one for one in disks.look() if one["mount"] == "/")
    told = os.statvfs("/")
    assert 0 < root["free"] <= root["total"] <= told.f_blocks * told.f_frsize
    assert abs(root["free"] - told.f_bavail * told.f_frsize) < 1 << 30


def test_what_this_kernel_does_not_tell_of_memory_is_left_out_and_no_zero(monkeypatch: pytest.MonkeyPatch) -> None:
    told = "MemTotal: 1000 kB\nCached: 300 kB\nBuffers: 20 kB\nSwapTotal: 0 kB\nSwapFree: 0 kB\n"  # before 3.14: no MemAvailable
    monkeypatch.setattr(box, "read", lambda path, limit=0: told)
    assert box.memory() == {"total": 1024000, "buffers": 20480, "swap_total": 0, "swap_used": 0}
