"""What this machine's kernel says of its own network. No packet is sent."""

from __future__ import annotations

import asyncio
import os
import shutil
import subprocess

import pytest

from sovtui.adapters.network import KernelNetwork
from sovtui.core.reach import Here


def test_the_way_to_this_machine_is_known():
    network = KernelNetwork()
    assert network.toward(["127.0.0.1"]) == Here("127.0.0.1", True)
    assert network.toward(["not an address"]).source == ""


def test_own_addresses_are_known():
    network = KernelNetwork()
    assert network.has("127.0.0.1")
    assert not network.has("192.0.2.7")
    assert not network.has("")


def test_the_sleep_of_an_awake_machine_does_not_grow():
    network = KernelNetwork()
    before = network.asleep_seconds()
    assert abs(network.asleep_seconds() - before) < 0.5


async def test_watching_ends_without_leaving_anything():
    before = len(os.listdir("/proc/self/fd"))
    end = KernelNetwork().watch(lambda: None)
    if end is None:
        pytest.skip("this system tells nothing of its network")
    await asyncio.sleep(0)
    end()
    assert len(os.listdir("/proc/self/fd")) == before


@pytest.mark.skipif(os.geteuid() != 0 or not shutil.which("ip"), reason="adding an address needs root and ip")
async def test_a_new_address_is_told_once():
    told: list[float] = []
    end = KernelNetwork().watch(lambda: told.append(asyncio.get_running_loop().time()))
    if end is None:
        pytest.skip("this system tells nothing of its network")
    address = f"127.99.{os.getpid() % 250}.7/32"
    if subprocess.run(["ip", "addr", "add", address, "dev", "lo"], capture_output=True).returncode:
        end()
        pytest.skip("no address can be added here")
    try:
        assert KernelNetwork().has(address.partition("/")[0])
        async with asyncio.timeout(60):
            while not told:
                await asyncio.sleep(0.02)
    finally:
        subprocess.run(["ip", "addr", "del", address, "dev", "lo"], check=True)
        end()
