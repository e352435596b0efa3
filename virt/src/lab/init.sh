#!/bin/busybox sh
# The first process of a lab guest: mounts, modules, ports, the trace-cmd client, then commands
# from the host, one at a time, over the virtio-serial port lab-shell.
export PATH=/usr/bin:/bin:/usr/sbin:/sbin HOME=/root LC_ALL=C
/bin/busybox --install -s /bin

mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t devtmpfs devtmpfs /dev
mount -t tmpfs tmpfs /run
# Files that the guest was given may be below /tmp, as programs of a checkout there are.
mv /tmp /lab/tmp && mkdir /tmp && mount -t tmpfs tmpfs /tmp
for given in /lab/tmp/*; do
	[ ! -e "$given" ] || ln -s "$given" /tmp/
done
mkdir -p /dev/pts /run/lab
mount -t devpts devpts /dev/pts
mount -t tracefs nodev /sys/kernel/tracing
mount -t debugfs nodev /sys/kernel/debug 2>/dev/null

while read -r module; do
	insmod "/lab/modules/$module.ko" || echo "lab: cannot insert $module" >/dev/console
done </lab/modules/order

# Through the kernel, which prints all of it before it ends.
last_words() {
	echo "<0>lab: $1" >/dev/kmsg
	poweroff -f
}

# Ends the guest when whoever started it is gone.
( sleep "$(cat /lab/lifetime)"; last_words 'lifetime over' ) &

# Ports get their names one after the other, and who opens one that has none yet makes a plain file.
missing_port() {
	while read -r port; do
		[ -e "/dev/virtio-ports/$port" ] || { echo "$port"; return; }
	done </lab/ports
}
tries=0
while link-ports; missing=$(missing_port); [ -n "$missing" ]; do
	tries=$((tries + 1))
	[ "$tries" -le 2400 ] || last_words "no port $missing"
	sleep 0.05
done

if [ -x /lab/client ]; then
	(
		/lab/client </dev/null
		echo $? >/run/client.status
		echo "lab: client ended with $(cat /run/client.status)"
	) 2>&1 | tee /run/client.log >/dev/console &
fi

exec 3<>/dev/virtio-ports/lab-shell
echo ready >&3
while :; do
	# End of file: nobody is at the other end.
	read -r id seconds script <&3 || { sleep 0.1; continue; }
	# New files each time: a command's children may still write to the old ones.
	rm -f /run/lab/*
	echo "$script" | base64 -d >/run/lab/script
	timeout -s KILL "$seconds" sh /run/lab/script </dev/null >/run/lab/out 2>/run/lab/err 3>&-
	status=$?
	# Just what was told, even if one of its children writes on.
	out=$(stat -c %s /run/lab/out) err=$(stat -c %s /run/lab/err)
	echo "$id $status $out $err" >&3
	head -c "$out" /run/lab/out >&3
	head -c "$err" /run/lab/err >&3
done
