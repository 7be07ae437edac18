#!/usr/bin/env bash
# The tests of `schedule::wide`, where the CPU has no AVX-512: in a Linux guest under Bochs, which
# emulates it. About a minute.
#
# It needs packages of Debian (or what knows them by these names), and ends with 0 and a message
# where they cannot be had.
set -euo pipefail
cd "$(dirname "$0")/.."

if [ "$(rustc -vV | sed -n 's/^host: //p')" != x86_64-unknown-linux-gnu ]; then
    .ci/skip 'AVX-512: it is of x86-64'
    exit 0
fi
tests() {
    cargo test --release --locked --lib "$@"
}
if grep -qw avx512bw /proc/cpuinfo; then
    tests wide
    exit
fi

packages="bochs bochsbios vgabios isolinux syslinux-common genisoimage cpio busybox-static"
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
# The kernel is not for this machine: it is unpacked, not installed.
fetch_kernel() {
    local kernel
    kernel=$(apt-cache depends linux-image-cloud-amd64 | sed -n 's/.*Depends: //p' | head -n 1)
    cd "$work" && apt-get download -q "$kernel" && dpkg -x ./*.deb .
}
# shellcheck disable=SC2086 # a list of packages
if ! .ci/packages $packages || ! (fetch_kernel); then
    .ci/skip "AVX-512: $packages and a kernel are needed, and cannot be had here"
    exit 0
fi

tests --no-run --message-format json >"$work/built"
binary=$(sed -n 's/.*"executable":"\([^"]*\)".*/\1/p' "$work/built")

guest=$work/guest iso=$work/iso
mkdir -p "$guest"/{dev,proc,tmp} "$iso/isolinux"
strip -o "$guest/tests" "$binary"
cp /bin/busybox "$guest/busybox"
ldd "$binary" | grep -o '/[^ ]*' | xargs cp --dereference --parents -t "$guest"
cat >"$guest/init" <<'INIT'
#!/busybox sh
/busybox mount -t proc proc /proc
/busybox mount -t devtmpfs dev /dev
exec >/dev/ttyS0 2>&1
/busybox grep -m 1 '^flags' /proc/cpuinfo
/tests wide --test-threads=1
echo "guest ends with $?"
/busybox poweroff -f
INIT
chmod +x "$guest/init"
(cd "$guest" && find . | cpio --quiet -o -H newc) >"$iso/initrd"
cp "$work"/boot/vmlinuz-* "$iso/vmlinuz"
cp /usr/lib/ISOLINUX/isolinux.bin /usr/lib/syslinux/modules/bios/ldlinux.c32 "$iso/isolinux"
# What Bochs 2.7 says of XSAVE does not add up, and Linux does without AVX then: no protection keys,
# no XSAVES (515, 321 and 323 are XSAVEC and its like). 580 is FSRM, which it has without ERMS.
cat >"$iso/isolinux/isolinux.cfg" <<'LINUX'
default linux
label linux
  kernel /vmlinuz
  append initrd=/initrd console=ttyS0,115200 quiet panic=-1 mitigations=off nosmp tsc=unstable no_timer_check random.trust_cpu=on nopku noxsaves clearcpuid=515,321,323,580
LINUX
genisoimage -quiet -o "$work/boot.iso" -b isolinux/isolinux.bin -c isolinux/boot.cat \
    -no-emul-boot -boot-load-size 4 -boot-info-table "$iso"

serial=$work/serial
cat >"$work/bochsrc" <<BOCHS
display_library: rfb, options="timeout=0"
romimage: file=/usr/share/bochs/BIOS-bochs-latest
vgaromimage: file=/usr/share/bochs/VGABIOS-lgpl-latest
megs: 512
cpu: model=corei7_icelake_u, ips=100000000
clock: sync=none
ata0: enabled=1, ioaddr1=0x1f0, ioaddr2=0x3f0, irq=14
ata0-master: type=cdrom, path=$work/boot.iso, status=inserted
boot: cdrom
com1: enabled=1, mode=file, dev=$serial
plugin_ctrl: speaker=0
log: $work/log
panic: action=fatal
BOCHS
# Debian's has its debugger built in, which waits to be told to continue.
echo c | timeout 600 bochs -q -f "$work/bochsrc" >"$work/out" 2>&1 || true
tr -d '\r' <"$serial" | sed '/^flags/d'
# Without them the tests would pass and say nothing.
for flag in avx512f avx512bw sha_ni; do
    if ! grep '^flags' "$serial" | grep -qw "$flag"; then
        echo "the guest has no $flag" >&2
        exit 1
    fi
done
grep -q '^guest ends with 0' "$serial"
