# Gives a server something to upgrade: an archive of its own with two versions of the package
# site-tools, the first of them installed. The second wants a reboot.
set -eu
rm -rf /srv/archive && mkdir -p /srv/archive && cd /srv/archive
for version in 1.0 2.0; do
    mkdir -p build/DEBIAN
    cat >build/DEBIAN/control <<END
Package: site-tools
Version: $version
Architecture: all
Maintainer: the demo <demo@example.org>
Description: something that can be upgraded
END
    if [ "$version" = 2.0 ]; then
        printf '#!/bin/sh\ntouch /run/reboot-required\n' >build/DEBIAN/postinst
        chmod 755 build/DEBIAN/postinst
    fi
    dpkg-deb --build build . >/dev/null
    rm -r build
done
for file in *.deb; do
    dpkg-deb -f "$file"
    printf 'Filename: ./%s\nSize: %s\nSHA256: %s\n\n' "$file" "$(stat -c %s "$file")" \
        "$(sha256sum "$file" | cut -d ' ' -f 1)"
done >Packages
dpkg -i site-tools_1.0_all.deb >/dev/null
# Only this archive: what else is new at Debian is not what is shown.
rm -f /etc/apt/sources.list /etc/apt/sources.list.d/*
echo 'deb [trusted=yes] file:/srv/archive ./' >/etc/apt/sources.list
echo 'site-tools 1.0 is installed, 2.0 is offered'
