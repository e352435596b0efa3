#!/bin/busybox sh
# Makes /dev/virtio-ports/NAME for every port there is, as udev would. Run it again after a port
# was added to the running guest.
mkdir -p /dev/virtio-ports
for name in /sys/class/virtio-ports/*/name; do
	[ -s "$name" ] || continue
	device=${name%/name}
	ln -sf "../${device##*/}" "/dev/virtio-ports/$(cat "$name")"
done
