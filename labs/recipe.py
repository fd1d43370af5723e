"""What is in the image that every host of a lab starts from. Whatever is changed here makes a new image."""

SUITE = "bookworm"

PACKAGES = (
    *("systemd-sysv", "udev", "dbus", "openssh-server", "sudo"),
    *("iproute2", "iputils-ping", "procps", "kmod", "ethtool", "iptables", "nftables", "tcpdump"),
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
    "rm -f /etc/ssh/ssh_host_*",
)

# What a host needs to be a host stays. This is for disks, terminals, updates and firmware, which it has not.
MASKED = (
    *("apt-daily.timer", "apt-daily-upgrade.timer", "dpkg-db-backup.timer", "e2scrub_all.timer", "fstrim.timer"),
    *("systemd-tmpfiles-clean.timer", "e2scrub_reap.service", "getty.target"),
    *("systemd-pstore.service", "systemd-binfmt.service", "systemd-repart.service", "systemd-firstboot.service"),
    *("systemd-machine-id-commit.service", "systemd-random-seed.service", "systemd-journal-flush.service"),
    *("systemd-update-utmp.service", "systemd-update-utmp-runlevel.service", "systemd-remount-fs.service"),
    *("systemd-pcrphase.service", "systemd-pcrphase-sysinit.service", "systemd-udevd.service"),
    *("systemd-udev-trigger.service", "systemd-udevd-control.socket", "systemd-udevd-kernel.socket"),
    *("dev-hugepages.mount", "dev-mqueue.mount", "proc-sys-fs-binfmt_misc.automount"),
    *("sys-fs-fuse-connections.mount", "sys-kernel-config.mount", "sys-kernel-debug.mount"),
    *("sys-kernel-tracing.mount", "systemd-ask-password-console.path", "systemd-ask-password-wall.path"),
    *("modprobe@configfs.service", "modprobe@dm_mod.service", "modprobe@drm.service"),
    *("modprobe@efi_pstore.service", "modprobe@fuse.service", "modprobe@loop.service"),
)
