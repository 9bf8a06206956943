#!/bin/busybox sh
# Runs the programs that /kstack/programs/list names, one after another, and writes what each did
# to the console. The first program of the machine, in this kernel and in Linux.
#
#   @program NAME            it begins
#   @status NAME NUMBER      it has ended: the status, as a shell has it
#   @output BASE64           a part of what it wrote to standard output and standard error
#   @end NAME
#   @all                     there are no more
b=/bin/busybox
export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
export HOME=/tmp LC_ALL=C TERM=dumb
if ! $b test -e /proc/self/stat; then
	# Linux mounts nothing by itself, and makes no links.
	$b mount -t proc proc /proc
	$b mkdir -p /sys && $b mount -t sysfs sysfs /sys
	$b mount -t devtmpfs devtmpfs /dev
	$b mkdir -p /dev/pts /dev/shm
	$b ln -s /proc/self/fd /dev/fd
	$b ln -s fd/0 /dev/stdin && $b ln -s fd/1 /dev/stdout && $b ln -s fd/2 /dev/stderr
	$b mount -t devpts devpts /dev/pts
	$b mount -t tmpfs tmpfs /dev/shm
	$b mount -t tmpfs tmpfs /tmp
fi
$b mkdir /tmp/of
while read -r name seconds <&9; do
	echo
	echo "@program $name"
	$b mkdir "/tmp/$name" && cd "/tmp/$name"
	$b timeout -s KILL "$seconds" $b setsid $b sh "/kstack/programs/$name" \
		</dev/null >/tmp/of/output 2>&1 9<&-
	echo "@status $name $?"
	# What it has left behind. This is the first process, which the signal does not reach.
	kill -KILL -1 2>/dev/null
	$b head -c 1000000 /tmp/of/output | $b base64 | while read -r line; do echo "@output $line"; done
	echo "@end $name"
	cd /tmp
	$b rm -rf "/tmp/$name" /tmp/of/output
done 9</kstack/programs/list
echo "@all"
