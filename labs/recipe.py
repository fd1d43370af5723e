"""What is in the images that the hosts of labs start from. Whatever is changed here makes new images.

One recipe in two forms: a tree of files for containers; for VMs the same and what hardware asks for, on a disk.
"""

from dataclasses import dataclass

SUITE = "bookworm"

PACKAGES = (
    *("systemd-sysv", "udev", "dbus", "openssh-server", "sudo"),
    *("iproute2", "iputils-ping", "procps", "kmod", "ethtool", "iptables", "nftables", "tcpdump"),
    *("wireguard-tools", "containernetworking-plugins"),
)

# Hosts differ in what they are given at their start: keys, machine-id, hostname, /etc/hosts.
FILES = {
    "etc/machine-id": "",
    "etc/ssh/sshd_config.d/podnet.conf": """\
HostKey /etc/ssh/ssh_host_ed25519_key
AuthorizedKeysFile /etc/ssh/authorized_keys
PermitRootLogin prohibit-password
PasswordAuthentication no
UsePAM no
UseDNS no
MaxStartups 500
MaxSessions 500
# the tests count "Starting session: command"
LogLevel VERBOSE
""",
    "etc/sudoers.d/admin": "admin ALL=(ALL) NOPASSWD: ALL\n",
    "etc/systemd/journald.conf.d/podnet.conf": "[Journal]\nStorage=volatile\nRuntimeMaxUse=8M\n",
    "etc/systemd/system.conf.d/podnet.conf": "[Manager]\nDefaultTimeoutStopSec=5s\n",
}

# sshd without PAM refuses an account whose password is locked ("!"); "*" is no password, and not locked.
COMMANDS = (
    "useradd --create-home --shell /bin/bash --password '*' admin",
    "sh -c 'rm -f /etc/ssh/ssh_host_*'",
)

# What a host needs to be a host stays. This is for disks, terminals, updates and firmware, which it has not.
MASKED = (
    *("apt-daily.timer", "apt-daily-upgrade.timer", "dpkg-db-backup.timer", "e2scrub_all.timer", "fstrim.timer"),
    *("systemd-tmpfiles-clean.timer", "e2scrub_reap.service", "getty.target"),
    *("systemd-pstore.service", "systemd-binfmt.service", "systemd-repart.service", "systemd-firstboot.service"),
    *("systemd-machine-id-commit.service", "systemd-random-seed.service", "systemd-journal-flush.service"),
    *("systemd-update-utmp.service", "systemd-update-utmp-runlevel.service", "systemd-remount-fs.service"),
    *("systemd-pcrphase.service", "systemd-pcrphase-sysinit.service"),
    *("dev-hugepages.mount", "dev-mqueue.mount", "proc-sys-fs-binfmt_misc.automount"),
    *("sys-fs-fuse-connections.mount", "sys-kernel-config.mount", "sys-kernel-debug.mount"),
    *("sys-kernel-tracing.mount", "systemd-ask-password-console.path", "systemd-ask-password-wall.path"),
    *("modprobe@configfs.service", "modprobe@dm_mod.service", "modprobe@drm.service"),
    *("modprobe@efi_pstore.service", "modprobe@fuse.service", "modprobe@loop.service"),
)


# At boot and daemon-reload they look for disks, encrypted ones, updates and init scripts, of which there are none.
GENERATORS = (
    *("cryptsetup", "integritysetup", "veritysetup", "gpt-auto", "hibernate-resume", "rc-local", "run"),
    *("system-update", "sysv"),
)


@dataclass(frozen=True)
class Form:
    """One form of the recipe; `masked` are files that /dev/null stands in for."""

    name: str
    packages: tuple[str, ...]
    files: dict[str, str]
    commands: tuple[str, ...]
    masked: tuple[str, ...]


def units(*names: str) -> tuple[str, ...]:
    """Return the files that mask units, and generators of units."""
    generators = (f"etc/systemd/system-generators/systemd-{name}-generator" for name in GENERATORS)
    return (*(f"etc/systemd/system/{name}" for name in names), *generators)


# Containers within a container: an overlay stands on no other, cgroups are read-only where they are of version 1, and
# nspawn's filter refuses keyrings and to load a filter of one's own.
CONTAINER_FILES = {
    "etc/containers/storage.conf": """\
[storage]
driver = "vfs"
runroot = "/run/containers/storage"
graphroot = "/var/lib/containers/storage"
""",
    "etc/containers/containers.conf": """\
[containers]
cgroups = "disabled"
keyring = false
seccomp_profile = "unconfined"
[engine]
cgroup_manager = "cgroupfs"
""",
}

# The devices of a container are the machine's own, and the machine's udev looks after them.
CONTAINER = Form(
    "container",
    (*PACKAGES, "podman", "busybox-static"),
    FILES | CONTAINER_FILES,
    COMMANDS,
    units(
        *MASKED,
        *("systemd-udevd.service", "systemd-udev-trigger.service"),
        *("systemd-udevd-control.socket", "systemd-udevd-kernel.socket"),
        *("podman.service", "podman.socket", "podman-restart.service"),
        *("podman-auto-update.service", "podman-auto-update.timer"),
    ),
)

# Its NICs have their names and addresses by the kernel's command line. mgmt0 is the one that ssh comes in by.
VM_FILES = {
    "etc/systemd/network/mgmt0.network": """[Match]
Name=mgmt0
[Network]
Address=10.0.2.15/24
LinkLocalAddressing=no
IPv6AcceptRA=no
""",
    # We would like igb's NIC to be eth1; the kernel calls that the one that udev renames to mgmt0; hence igb waits.
    "etc/modprobe.d/podnet.conf": "".join(
        f"blacklist {module}\n"
        for module in ("igb", "ahci", "libata", "psmouse", "drm", "bochs", "floppy", "i2c_i801", "lpc_ich", "iTCO_wdt")
    ),
    "etc/systemd/system/podnet-igb.service": """[Unit]
Wants=sys-subsystem-net-devices-mgmt0.device
After=sys-subsystem-net-devices-mgmt0.device
[Service]
Type=oneshot
RemainAfterExit=yes
ExecStart=modprobe igb
""",
    # It reads lines from the second serial port: a word and a script in base64; and says how the script ended.
    # A word alone asks whether it listens: the answer must cost next to nothing, as there may be many.
    "etc/podnet/ear": """stty raw -echo
while read -r word script; do
    case $script in
        "") echo "$word 0" ;;
        *) printf '%s' "$script" | base64 --decode | sh >&2; echo "$word $?" ;;
    esac
done
""",
    "etc/systemd/system/podnet-ear.service": """[Unit]
Description=Obey the machine that this VM runs on
After=systemd-networkd.service podnet-igb.service
[Service]
ExecStart=sh /etc/podnet/ear
StandardInput=tty-force
StandardOutput=tty
StandardError=journal
TTYPath=/dev/ttyS1
Restart=always
RestartSec=0
""",
    "etc/systemd/system/multi-user.target.d/podnet.conf": "[Unit]\nWants=podnet-igb.service podnet-ear.service\n",
    # The coldplug of terminals, busses and clocks, of which no rule is left, takes a fifth of a boot in emulation.
    "etc/systemd/system/systemd-udev-trigger.service.d/podnet.conf": """[Service]
ExecStart=
ExecStart=-udevadm trigger --type=subsystems --action=add
ExecStart=-udevadm trigger --type=devices --action=add --subsystem-match=net --subsystem-match=block \
    --subsystem-match=pci --subsystem-match=virtio
""",
    # A VM gets its key when it has booted for the first time; whoever gives it starts sshd.
    "etc/systemd/system/ssh.service.d/podnet.conf": "[Unit]\nConditionPathExists=/etc/ssh/ssh_host_ed25519_key\n",
}

# By what a disk, a camera or a keyboard is known; these take most of udev's time at boot.
RULES = (
    *("50-firmware.rules", "55-dm.rules", "60-autosuspend.rules", "60-block.rules", "60-cdrom_id.rules"),
    *("60-drm.rules", "60-evdev.rules", "60-fido-id.rules", "60-infiniband.rules", "60-input-id.rules"),
    *("60-persistent-alsa.rules", "60-persistent-input.rules", "60-persistent-storage-dm.rules"),
    *("60-persistent-storage-tape.rules", "60-persistent-storage.rules", "60-persistent-v4l.rules"),
    *("60-sensor.rules", "60-serial.rules", "64-btrfs.rules", "70-camera.rules", "70-joystick.rules"),
    *("70-memory.rules", "70-mouse.rules", "70-power-switch.rules", "70-touchpad.rules", "70-uaccess.rules"),
    *("71-seat.rules", "73-seat-late.rules", "75-probe_mtd.rules", "78-sound-card.rules", "85-hwclock.rules"),
    *("95-dm-notify.rules", "96-e2scrub.rules"),
)

VM = Form(
    "vm",
    (*PACKAGES, "linux-image-amd64", "klibc-utils", "ipset", "ipvsadm", "conntrack"),
    FILES | VM_FILES,
    (
        *COMMANDS,
        "systemctl enable systemd-networkd systemd-network-generator",
        "systemctl disable systemd-networkd-wait-online",
        "rm -f /usr/lib/udev/hwdb.bin",
    ),
    (*units(*MASKED, "ipvsadm.service"), *(f"etc/udev/rules.d/{rule}" for rule in RULES)),
)

FORMS = (CONTAINER, VM)
