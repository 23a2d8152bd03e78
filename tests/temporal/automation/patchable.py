"""Lab servers with something to upgrade: an archive of their own, with a first and a second version."""

from __future__ import annotations

from dataclasses import dataclass

from lab import Lab, Machine

# lab-web answers on port 80 with its version, and has a service whose program the upgrade replaces.
# lab-sec comes from an archive that calls itself Debian-Security.
PREPARE = r"""
set -e
rm -rf /etc/apt/sources.list /etc/apt/sources.list.d/*
cat >/etc/systemd/system/count-boots.service <<'END'
[Service]
Type=oneshot
ExecStart=/bin/sh -c 'echo boot >>/root/boots'
[Install]
WantedBy=multi-user.target
END
systemctl -q enable count-boots
control() { # name, version
  mkdir -p "$W/DEBIAN"
  printf '%s\n' "Package: $1" "Version: $2" 'Architecture: all' 'Maintainer: lab <lab@example.org>' \
    'Description: of the lab' >"$W/DEBIAN/control"
}
build() { mkdir -p "/srv/$1"; dpkg-deb --build "$W" "/srv/$1" >/dev/null; rm -rf "$W"; }
W=/srv/build
for v in 1.0 2.0; do
  control lab-web $v
  mkdir -p $W/usr/lib/lab-web $W/lib/systemd/system $W/etc
  cp /bin/sleep $W/usr/lib/lab-web/serve; echo "$v" >>$W/usr/lib/lab-web/serve
  echo "as in $v" >$W/etc/lab-web.conf; echo /etc/lab-web.conf >$W/DEBIAN/conffiles
  cat >$W/lib/systemd/system/lab-web.socket <<'END'
[Socket]
ListenStream=80
Accept=yes
[Install]
WantedBy=sockets.target
END
  cat >$W/lib/systemd/system/lab-web@.service <<END
[Service]
StandardInput=socket
ExecStart=/bin/sh -c 'while read -r l && [ -n "\$\${l%%?}" ]; do :; done; \\
printf "HTTP/1.0 200 OK\\r\\n\\r\\n$v"'
END
  cat >$W/lib/systemd/system/lab-serve.service <<'END'
[Service]
ExecStart=/usr/lib/lab-web/serve infinity
[Install]
WantedBy=multi-user.target
END
  if [ $v = 2.0 ]; then
    printf '#!/bin/sh\n[ ! -x /root/postinst ] || exec /root/postinst\n' >$W/DEBIAN/postinst
    chmod 755 $W/DEBIAN/postinst
  fi
  build main
  control lab-sec $v; build security
  control lab-kept $v; build main
done
cd /srv
apt-ftparchive packages main >main/Packages
apt-ftparchive packages security >security/Packages
apt-ftparchive -o APT::FTPArchive::Release::Label=Debian-Security \
  -o APT::FTPArchive::Release::Suite=stable-security release security >/srv/Release
mv /srv/Release security/Release
# apt takes paths of packages from the archive's root.
sed -i 's,^Filename: main/,Filename: ,' main/Packages
sed -i 's,^Filename: security/,Filename: ,' security/Packages
apt-ftparchive -o APT::FTPArchive::Release::Label=Debian-Security \
  -o APT::FTPArchive::Release::Suite=stable-security release security >/srv/Release
mv /srv/Release security/Release
printf 'deb [trusted=yes] file:/srv/main ./\ndeb [trusted=yes] file:/srv/security ./\n' \
  >/etc/apt/sources.list
dpkg -i main/lab-web_1.0_all.deb main/lab-kept_1.0_all.deb security/lab-sec_1.0_all.deb
systemctl daemon-reload
systemctl -q enable --now lab-web.socket lab-serve.service
"""


@dataclass
class Patchable:
    """A fresh server that has version 1.0 of three packages, and is offered 2.0."""

    machine: Machine

    @property
    def lab(self) -> Lab:
        return Lab(self.machine.lab)

    @property
    def place(self) -> dict[str, str]:
        return {"lab": self.machine.name, "lab_name": self.machine.lab}

    def says(self, command: str, input: str | None = None) -> str:
        """What a shell command prints there, through its init, not through ssh."""
        done = self.lab.exec(self.machine, ["sh", "-c", command], input=input)
        return (done.stdout + done.stderr).strip()

    def has(self, package: str) -> str:
        return self.says(f"dpkg-query -W -f='${{Version}}' {package}")

    def boots(self) -> int:
        """How often it booted since it was prepared."""
        return int(self.says("cat /root/boots 2>/dev/null | wc -l"))

    def postinst(self, text: str) -> None:
        """What lab-web 2.0 does when it is installed."""
        self.says("cat >/root/postinst; chmod 755 /root/postinst", "#!/bin/sh\n" + text)

    def needs_reboot(self) -> None:
        """Makes 2.0 of lab-web ask for a reboot."""
        self.postinst("touch /run/reboot-required; echo lab-web >>/run/reboot-required.pkgs\n")


def prepare(machine: Machine) -> Patchable:
    made = Patchable(machine)
    done = made.lab.exec(machine, ["sh", "-c", PREPARE])
    assert done.returncode == 0, done.stdout + done.stderr
    return made
