"""What a VM is started with, as values: QEMU's words, the kernel's, and the archive that it starts from."""

import itertools
import lzma
import struct
from pathlib import Path

from podnet.labs import initramfs, vmlinux, vms
from podnet.labs.home import Home
from podnet.labs.plan import VMS, Lab
from podnet.labs.qemu import Qemu
from podnet.labs.snapshot import Snapshot
from podnet.labs.vm import Vm

QEMU = Qemu(("qemu",), "10.0.2", "tcg")
OLD = Qemu(("qemu",), "7.2.22", "tcg")


def vm(name: str = "node1", *, of: str = "net", qemu: Qemu = QEMU, port: int = 40001, mtu: int = 1400) -> Vm:
    """Return a machine of a lab of two segments."""
    lab = Lab(of, 2, 2, mtu, VMS)
    (machine,) = (machine for machine in lab.machines if machine.name == name)
    return Vm(Home(Path("/clone/.lab", of)), machine, mtu, port, Path("/image"), qemu)


def values(words: list[str], option: str) -> list[str]:
    """Return what follows each of these options."""
    return [value for name, value in itertools.pairwise(words) if name == option]


def test_the_kernel_is_told_who_it_is() -> None:
    """Name, NICs by their MACs, address, gateway and MTU; all of them computed."""
    (append,) = values(vm().hardware, "-append")
    assert append.split()[-6:] == [
        "systemd.hostname=node1",
        "systemd.machine_id=8461c76997565dd2a662868702182d0e",
        "ifname=eth0:02:55:c0:a8:38:0b",
        "ifname=mgmt0:52:55:0a:00:02:0f",
        "ifname=eth1:02:56:c0:a8:38:0b",
        "ip=192.168.56.11::192.168.56.1:255.255.255.0::eth0:off:1400",
    ]


def test_a_router_has_a_nic_on_each_segment_and_no_gateway() -> None:
    """Nor virtual functions: nobody's pods are there."""
    (append,) = values(vm("router").hardware, "-append")
    assert [word for word in append.split() if word.startswith("ip=")] == [
        "ip=192.168.56.1:::255.255.255.0::eth0:off:1400",
        "ip=192.168.57.1:::255.255.255.0::eth1:off:1400",
    ]
    assert "igb" not in " ".join(vm("router").hardware)


def test_a_vm_is_reached_by_a_port_of_this_machine_alone_and_reaches_nothing_by_it() -> None:
    """The other NICs lead to sockets that are files."""
    netdevs = values(vm().places, "-netdev")
    assert netdevs[0] == "user,id=mgmt0,restrict=on,hostfwd=tcp:127.0.0.1:40001-:22"
    assert all("addr.type=unix" in netdev for netdev in netdevs[1:])
    assert "tap" not in " ".join(netdevs)


def test_what_a_vm_has_synced_survives_its_qemu() -> None:
    """QEMU's quickest cache would pass the guest's flushes over."""
    assert "cache=writeback" in " ".join(vm().places)


def test_every_nic_has_its_socket_at_its_segment() -> None:
    """Also those of hosts that may come later: nobody is plugged in anew for them."""
    for lab in (Lab("net", 2, 2, 1400, VMS), Lab("net", vms.MOST, 2, 1400, VMS)):
        sockets = {path for segment in vms.segments(vm().home, lab) for path in segment.sockets}
        for machine in ("node1", "node2", "router"):
            netdevs = values(vm(machine).places, "-netdev")[1:]
            paths = {Path(netdev.split("addr.path=")[1].split(",")[0]) for netdev in netdevs}
            assert paths <= sockets


def test_an_older_qemu_does_without_what_it_has_not() -> None:
    """QEMU 7.2 has neither igb nor a way to plug a NIC in again."""
    words = " ".join([*vm(qemu=OLD).hardware, *vm(qemu=OLD).places])
    assert "igb" not in words
    assert "eth1" not in words
    assert "reconnect" not in words


def test_a_snapshot_fits_the_same_machine_in_any_lab_and_no_other() -> None:
    """Another lab's port and directory do not matter; another MTU, name or QEMU does."""
    fits = Snapshot(vm()).path
    assert Snapshot(vm(of="other", port=40002)).path == fits
    others = [vm("node2"), vm("router"), vm(mtu=1500), vm(qemu=OLD), vm(qemu=Qemu(("qemu",), "10.0.2", "kvm"))]
    assert fits not in {Snapshot(other).path for other in others}


def test_a_comma_in_a_path_is_no_end_of_an_option() -> None:
    """QEMU has it doubled."""
    disk = Vm(Home(Path("/a,b/.lab/net")), vm().machine, 1500, 40001, Path("/image"), QEMU).places
    assert "file=/a,,b/.lab/net/node1/disk.qcow2," in " ".join(disk)


def test_modules_are_inserted_after_those_that_they_need() -> None:
    """modules.dep names the needed ones last to first."""
    dependencies = """\
kernel/drivers/virtio/virtio_pci.ko: kernel/drivers/virtio/virtio.ko kernel/drivers/virtio/virtio_ring.ko
kernel/drivers/virtio/virtio.ko: kernel/drivers/virtio/virtio_ring.ko
kernel/drivers/virtio/virtio_ring.ko:
kernel/drivers/block/virtio_blk.ko: kernel/drivers/virtio/virtio.ko kernel/drivers/virtio/virtio_ring.ko
kernel/crypto/crc32c_generic.ko:
kernel/fs/ext4/ext4.ko: kernel/fs/jbd2/jbd2.ko kernel/lib/crc16.ko
kernel/fs/jbd2/jbd2.ko:
kernel/lib/crc16.ko:
"""
    assert [Path(file).stem for file in initramfs.in_order(dependencies)] == [
        *("virtio_ring", "virtio", "virtio_pci", "virtio_blk", "crc32c_generic", "crc16", "jbd2", "ext4"),
    ]


def test_an_archive_is_what_cpio_calls_newc() -> None:
    """Thirteen numbers in hexadecimal, the name, the content, each part filled up to four bytes."""
    entry = initramfs.entry("init", 0o100755, b"hello")
    assert entry[:6] == b"070701"
    assert [int(entry[6 + 8 * n : 14 + 8 * n], 16) for n in range(13)] == [0, 0o100755, 0, 0, 1, 0, 5, 0, 0, 0, 0, 5, 0]
    assert entry[110:115] == b"init\0"
    assert entry[116:] == b"hello\0\0\0"
    assert len(entry) % 4 == 0


def packed(payload: bytes, version: int = 0x20F) -> bytes:
    """Return a bzImage with one sector for its setup, and the payload eight bytes behind that."""
    head = bytearray(2 * 512 + 8)
    head[0x1F1] = 1
    struct.pack_into("<4sH", head, 0x202, b"HdrS", version)
    struct.pack_into("<II", head, 0x248, 8, len(payload))
    return bytes(head) + payload + b"rest"


def test_a_kernel_is_started_unpacked() -> None:
    """As QEMU understands it; one that is packed otherwise, or says nothing of it, unpacks itself."""
    elf = b"\x7fELF and so on"
    assert vmlinux.unpacked(packed(lzma.compress(elf) + b"\0\0\0\x0e")) == elf
    others = [packed(lzma.compress(b"no ELF")), packed(b"\x28\xb5\x2f\xfd zstd"), packed(lzma.compress(elf), 0x207)]
    assert [vmlinux.unpacked(other) for other in others] == others
