# A machine in namespaces of its own: `machine.sh boot|join|set-up GROUP FOLDER ADDRESS`. What is written outside of FOLDER is the control
# group GROUP, in each hierarchy.
set -eu
step=$1 group=$2 folder=$3 address=$4

# Each hierarchy: where it is mounted, and its kind.
hierarchies() { sed -n 's/^\([^ ]* \)\{4\}\([^ ]*\) .* - \(cgroup2\{0,1\}\) .*/\2 \3/p' /proc/self/mountinfo; }

case $step in
boot)
    # The end of this process ends the first one inside, and that one takes all others with it.
    exec unshare --mount --pid --net --ipc --uts --fork --kill-child=KILL --mount-proc -- bash "$0" join "$group" "$folder" "$address"
    ;;
join)
    hierarchies | while read -r path _; do echo $$ >"$path/$group/cgroup.procs"; done
    exec unshare --cgroup -- bash "$0" set-up "$group" "$folder" "$address"
    ;;
set-up)
    hierarchies | while read -r path kind; do
        # Version 2 hands controllers on only where no process is.
        if [ "$kind" = cgroup2 ]; then mkdir -p "$path/$group/init" && echo $$ >"$path/$group/init/cgroup.procs"; fi
    done
    for path in $(hierarchies | cut -d' ' -f1); do mount --bind "$path/$group" "$path"; done
    mkdir -p "$folder/etc" "$folder/containers" "$folder/srv" "$folder/tmp"
    cp /etc/containers/policy.json "$folder/etc/"
    # crun takes no control groups of both versions at once; and not every machine lets limits be as high as podman asks for.
    cat >"$folder/etc/containers.conf" <<END
[containers]
default_ulimits = ["nofile=4096:4096", "nproc=4096:4096"]
[engine]
runtime = "runc"
END
    for place in /run /var/lib; do mount -t tmpfs -o mode=755 machine "$place"; done
    mount -t tmpfs -o mode=1777 machine /dev/shm
    mkdir -p /run/lock /var/lib/containers
    mount --bind "$folder/etc" /etc/containers
    mount --bind "$folder/containers" /var/lib/containers
    mount --bind "$folder/srv" /srv
    mount --bind "$folder/tmp" /var/tmp
    ip link set lo up
    ip address add "$address/32" dev lo
    echo ready
    # Takes up what processes leave behind when they end.
    exec catatonit -P >/dev/null
    ;;
esac
