#!/bin/sh
# A base image like Docker's debian:12-slim, as a tar: base.sh TARGET MIRROR HOST ARCHIVE
# HOST is a folder with this machine's apt settings (mnt, sources.list.d, apt.conf); they are mounted, not copied.
set -eu
target=$1 mirror=$2 host=$3 archive=$4

debootstrap --variant=minbase bookworm "$target" "$mirror"

# debootstrap takes the release as it was; security and point updates come on top.
: >"$target/etc/apt/apt.conf"
: >"$target/etc/pip.conf"
rm -f "$target/etc/apt/sources.list"
mount --bind "$host/sources.list.d" "$target/etc/apt/sources.list.d"
mount --bind "$host/apt.conf" "$target/etc/apt/apt.conf"
mount --bind "$host/mnt" "$target/mnt"
mount --types proc proc "$target/proc"
printf '#!/bin/sh\nexit 101\n' >"$target/usr/sbin/policy-rc.d"
chmod 0755 "$target/usr/sbin/policy-rc.d"
chroot "$target" apt-get update
DEBIAN_FRONTEND=noninteractive chroot "$target" apt-get --yes upgrade
chroot "$target" apt-get clean
umount "$target/proc" "$target/mnt" "$target/etc/apt/apt.conf" "$target/etc/apt/sources.list.d"

# What the slim images leave out, now and in every later package.
cat >"$target/etc/dpkg/dpkg.cfg.d/docker" <<'END'
path-exclude /usr/share/doc/*
path-include /usr/share/doc/*/copyright
path-exclude /usr/share/man/*
path-exclude /usr/share/info/*
path-exclude /usr/share/locale/*
path-exclude /usr/share/lintian/*
path-exclude /usr/share/groff/*
END
cat >"$target/etc/apt/apt.conf.d/docker-clean" <<'END'
DPkg::Post-Invoke { "rm -f /var/cache/apt/archives/*.deb /var/cache/apt/archives/partial/*.deb /var/cache/apt/*.bin || true"; };
Dir::Cache::pkgcache "";
Dir::Cache::srcpkgcache "";
Acquire::Languages "none";
END
find "$target/usr/share/doc" ! -type d ! -name copyright -delete
find "$target/usr/share/doc" -depth -type d -empty -delete
for left_out in man info locale lintian groff; do
    find "$target/usr/share/$left_out" -mindepth 1 -delete 2>/dev/null || true
done

# What this machine left behind: its name, its resolver, its mirror, logs and lists.
rm -rf "$target"/var/lib/apt/lists/* "$target"/var/cache/apt/* "$target"/var/cache/debconf/*-old "$target"/var/log/* \
    "$target/etc/hostname" "$target/etc/resolv.conf" "$target"/var/cache/ldconfig/* "$target"/tmp/*
: >"$target/etc/machine-id"
cat >"$target/etc/apt/sources.list.d/debian.sources" <<'END'
Types: deb
URIs: http://deb.debian.org/debian
Suites: bookworm bookworm-updates
Components: main
Signed-By: /usr/share/keyrings/debian-archive-keyring.gpg

Types: deb
URIs: http://deb.debian.org/debian-security
Suites: bookworm-security
Components: main
Signed-By: /usr/share/keyrings/debian-archive-keyring.gpg
END

tar --create --file "$archive" --numeric-owner --sort=name --exclude='./dev/*' --directory "$target" .
