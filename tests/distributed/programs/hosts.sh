# Runs a command on "host a", which reaches "host b" by TCP over a pair of virtual network cards: each host is
# a network namespace with a name of its own, b with a folder for temporary files of its own too.
#     unshare --user --map-root-user --net --uts --mount sh hosts.sh FOLDER COMMAND...
# FOLDER/agent then is what ssh is to mpiexec: agent b COMMAND runs it on b.
set -e
here=$1
shift
mkdir -p "$here/tmp"
hostname a
printf '127.0.0.1 localhost\n10.77.0.1 a\n10.77.0.2 b\n' >"$here/hosts"
mount --bind "$here/hosts" /etc/hosts
unshare --net --uts --mount sleep 600 &
b=$!
trap 'kill -9 $b' EXIT
until in_b="nsenter --target $b --net --uts --mount" && [ "$($in_b readlink /proc/self/ns/net)" != "$(readlink /proc/self/ns/net)" ]; do
    sleep 0.05
done
$in_b mount -t tmpfs tmpfs "$here/tmp"
$in_b hostname b
ip link add veth-a type veth peer name veth-b netns $b
ip address add 10.77.0.1/24 dev veth-a
ip link set lo up
ip link set veth-a up
$in_b ip address add 10.77.0.2/24 dev veth-b
$in_b ip link set lo up
$in_b ip link set veth-b up
printf '#!/bin/sh\nshift\nexec %s sh -c "$*"\n' "$in_b" >"$here/agent"
chmod +x "$here/agent"
export TMPDIR="$here/tmp" PRTE_MCA_plm_ssh_agent="$here/agent" OMPI_MCA_btl=self,tcp
"$@"
