# A fresh Debian to install packages in; sourced by the scripts beside it. Needs root, debootstrap, overlayfs.
#
#   layers               makes the cached systems below $rooms, unless they are there (a minute or two)
#   enter LAYER…         puts a new room over these layers; everything that changes lands in $room/changes
#   inside USER CMD…     runs a command in it, as that user, with nothing of the caller's environment
#   leave                ends every process of the room and removes it
#
# A room has its own root, processes and user; the network is the caller's, so that a server in it answers outside.

rooms="$PWD/target/ci/rooms"
release=bookworm
# The archive that this machine uses itself.
mirror="$(apt-get indextargets --format '$(REPO_URI) $(RELEASE)' 2>/dev/null | sed -n "s/ $release\$//p" | head -1)"
mirror="${mirror:-http://deb.debian.org/debian}"
person=lea

layers() {
    mkdir -p "$rooms"
    if [ ! -e "$rooms/plain.made" ]; then
        rm -rf "$rooms/plain"
        debootstrap --variant=minbase --include=man-db,bash-completion,procps "$release" "$rooms/plain" "$mirror" >"$rooms/plain.log"
        # The caller's way to the archive.
        for path in /etc/apt/apt.conf.d/*proxy* /etc/apt/apt.conf.d/*certificate*; do
            [ ! -e "$path" ] || cp "$path" "$rooms/plain/etc/apt/apt.conf.d/"
        done
        cp --dereference /etc/resolv.conf "$rooms/plain/etc/resolv.conf"
        # As in every image of a system: nothing is started by installing.
        printf '#!/bin/sh\nexit 101\n' >"$rooms/plain/usr/sbin/policy-rc.d"
        chmod 755 "$rooms/plain/usr/sbin/policy-rc.d"
        chroot "$rooms/plain" useradd --create-home --shell /bin/bash "$person"
        touch "$rooms/plain.made"
    fi
    if [ ! -e "$rooms/browser.made" ]; then
        rm -rf "$rooms/browser"
        enter plain
        inside root apt-get update -qq
        inside root apt-get install -y -qq --no-install-recommends chromium fonts-dejavu-core git >"$rooms/browser.log"
        inside root apt-get clean
        mv "$room/changes" "$rooms/browser"
        leave
        touch "$rooms/browser.made"
    fi
}

enter() {
    room="$(mktemp -d "$rooms/room.XXXXXX")"
    mkdir "$room"/{changes,work,root}
    chmod 755 "$room" "$room"/{changes,root}
    lower=''
    for layer in "$@"; do lower="$rooms/$layer${lower:+:$lower}"; done
    # Its first process keeps the namespaces; with it every other one ends.
    unshare --mount --propagation private --pid --fork --kill-child bash -euc '
        mount -t overlay overlay -o "lowerdir=$2,upperdir=$1/changes,workdir=$1/work" "$1/root"
        cd "$1/root"
        mount -t proc proc proc
        mount --rbind /dev dev
        mount -t tmpfs -o mode=1777 tmpfs tmp
        mount -t tmpfs -o mode=1777 tmpfs dev/shm
        pivot_root . mnt
        umount --lazy /mnt
        : >/tmp/ready
        exec sleep infinity
    ' room "$room" "$lower" &
    room_owner=$!
    for _ in $(seq 100); do
        room_process="$(cat "/proc/$room_owner/task/$room_owner/children" 2>/dev/null || true)"
        room_process="${room_process%% *}"
        [ -z "$room_process" ] || [ ! -e "/proc/$room_process/root/tmp/ready" ] || return 0
        kill -0 "$room_owner" 2>/dev/null || break
        sleep 0.1
    done
    echo "no room could be made over $lower" >&2
    return 1
}

inside() {
    local user="$1" home=/root
    shift
    [ "$user" = root ] || home="/home/$user"
    nsenter --target "$room_process" --mount --pid --wdns="$home" -- \
        setpriv --reuid "$user" --regid "$user" --init-groups --inh-caps=-all -- \
        env -i HOME="$home" USER="$user" LOGNAME="$user" SHELL=/bin/bash LANG=C.UTF-8 DEBIAN_FRONTEND=noninteractive \
        PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin "$@"
}

leave() {
    [ -n "${room_owner:-}" ] || return 0
    kill -KILL "$room_owner" 2>/dev/null || true
    wait "$room_owner" 2>/dev/null || true
    rm -rf --one-file-system "$room"
    room_owner=''
}
