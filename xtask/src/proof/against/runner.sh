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
# Bytes, by a name of /proc/meminfo.
memory() {
	echo $(($($b sed -n "s/^$1: *\([0-9]*\) kB/\1/p" /proc/meminfo) * 1024))
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
read -r sleepers </kstack/against/sleepers
stacks=$(memory KernelStack) slabs=$(memory Slab)
# The first CPU's counter is that of programs; the other ones are idle.
one="$b taskset 1"
$one $b insmod /kstack/against/against.ko sleepers="$sleepers" || echo "@failed the module is not taken"
say
if $b test "$sleepers" -gt 0; then
	echo "@figure kernel_stack_of_each $((($(memory KernelStack) - stacks) / sleepers))"
	echo "@figure slab_of_each $((($(memory Slab) - slabs) / sleepers))"
fi
$one /kstack/bin/program-bench /kstack/bin/returns-at-once >/tmp/figures ||
	echo "@failed program-bench ended with status $?"
while read -r line; do echo "@figure $line"; done </tmp/figures
for threads in $(while read -r count; do echo "$count"; done </kstack/against/threads); do
	$b rmmod against
	$one $b insmod /kstack/against/against.ko threads="$threads"
	say
done
echo "@end"
$b poweroff -f
