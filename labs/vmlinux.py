"""The kernel of VMs, unpacked: to unpack itself takes it three of the ten seconds that a boot takes in emulation.

QEMU starts a file in ELF's format where its PVH entry is; Linux has had one since 5.0 (CONFIG_PVH).
"""

import lzma
import struct

PROTOCOL = 0x208
"""The version of the boot protocol that says where the payload is (Documentation/arch/x86/boot.rst)."""
SECTOR = 512
XZ, ELF = b"\xfd7zXZ\0", b"\x7fELF"


def unpacked(kernel: bytes) -> bytes:
    """Return what a bzImage unpacks, or itself where that is packed otherwise than in Debian 12, by xz."""
    (magic, version) = struct.unpack_from("<4sH", kernel, 0x202)
    if magic != b"HdrS" or version < PROTOCOL:
        return kernel
    setup_sectors = kernel[0x1F1] or 4
    offset, length = struct.unpack_from("<II", kernel, 0x248)
    start = (setup_sectors + 1) * SECTOR + offset
    payload = kernel[start : start + length]
    if not payload.startswith(XZ):
        return kernel
    whole = lzma.LZMADecompressor().decompress(payload)  # four bytes behind the stream say its length
    return whole if whole.startswith(ELF) else kernel
