#!/bin/busybox sh
# Measures in Linux what `cargo xtask bench` measures in this kernel, and writes it to the console.
# The first program of the machine.
#
#   @kernel RELEASE
#   @figure NAME VALUE
#   @failed WHAT
#   @end
b=/bin/busybox
say() {
	$b dmesg -c | $b sed -n 's/.*kstack-failed /@failed /p; s/.*] kstack /@figure /p'
}
$b mount -t proc proc /proc
$b mount -t devtmpfs devtmpfs /dev
echo
echo "@kernel $($b uname -r)"
# A thread more than these is refused, however much memory there is.
echo 4194304 >/proc/sys/kernel/pid_max
echo 4000000 >/proc/sys/kernel/threads-max
# The kernel tests itself in the background for some seconds. In the counting mode they pass at once
# where nothing runs.
$b sleep 15
$b dmesg -c >/dev/null
$b insmod /kstack/against/against.ko || echo "@failed the module is not taken"
say
/kstack/bin/program-bench /kstack/bin/returns-at-once >/tmp/figures ||
	echo "@failed program-bench ended with status $?"
while read -r line; do echo "@figure $line"; done </tmp/figures
for threads in $(while read -r count; do echo "$count"; done </kstack/against/threads); do
	$b rmmod against
	$b insmod /kstack/against/against.ko threads="$threads"
	say
done
echo "@end"
$b poweroff -f
