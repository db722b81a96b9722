# Runs as the first process of the node's own namespaces: mount, process, network, IPC, host name. Whatever
# the node mounts, starts and sets up lives in them and goes with them.
#   start.sh FOLDER
set -eu
folder=$1
hostname node

# Kubelet and containerd use their usual paths; what they write goes to the folder.
mount --make-rshared /
mkdir -p "$folder/lib" "$folder/log" "$folder/tunables"
mount --bind "$folder/lib" /var/lib
mount --bind "$folder/log" /var/log
mount -t tmpfs tmpfs /run

echo 1 >/proc/sys/net/ipv4/ip_forward
ip link set lo up

# The kubelet insists on these settings, which are the whole machine's: it writes to files of its own.
for setting in vm/overcommit_memory=1 vm/panic_on_oom=0 kernel/panic=10 kernel/panic_on_oops=1 \
  kernel/keys/root_maxkeys=1000000 kernel/keys/root_maxbytes=25000000; do
  file=$folder/tunables/$(echo "${setting%=*}" | tr / _)
  echo "${setting#*=}" >"$file"
  mount --bind "$file" "/proc/sys/${setting%=*}"
done

touch "$folder/namespaces-are-ready"
# As the first process it has to wait for orphans, which `wait` does.
sleep infinity &
wait
