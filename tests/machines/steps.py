"""What a lab could leave on a machine, as one command."""

LOOK = (
    "sudo bash -c '"
    "ls /run/litelab 2>&1; ip netns; ip -o link | cut -d: -f2; ip route | sort; nft -s list ruleset 2>&1 | sort; grep litelab /proc/mounts; "
    'find /sys/fs/cgroup -name "*litelab*"; systemctl list-units "litelab*" --all --no-legend; '
    "sysctl vm.overcommit_memory kernel.panic kernel.panic_on_oops kernel.keys.root_maxkeys kernel.keys.root_maxbytes "
    "fs.inotify.max_user_instances fs.inotify.max_user_watches net.ipv4.ip_forward; swapon --show=NAME --noheadings; "
    "ls -A /etc/systemd/system; pgrep -a nspawn'"
    "; true"
)
