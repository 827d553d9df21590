# Hosts on this machine: every one has its own network, process numbers, mounts and name, and a cable to one bridge.
# What the labs have in common. Read by a lab, which says before what it is called:
#   lab       its own path, which is called with `inside DIR NAME [ARGUMENT...]` as the first process of each host
#   family    what its bridges' names begin with
#   network   the first two numbers of its addresses
#   dir       where it keeps all it has: pids (name, process number and start time of what it ends again), net (bridge
#             and subnet, once there is one), and for each host NAME.log and NAME.go, the pipe that it waits for
# shellcheck shell=bash disable=SC2154  # which the lab says

fail() {
  echo "lab: $*" >&2
  exit 1
}

# Start time of a process that runs: with its number it names that process for ever.
start_time() {
  local stat
  { read -r stat <"/proc/$1/stat"; } 2>/dev/null || return 1
  read -ra fields <<<"${stat##*) }"
  [[ ${fields[0]} != [ZX] ]] && echo "${fields[19]}"
}

# pid_of NAME: of what was recorded under that name, where it runs still.
pid_of() {
  local name pid start
  while read -r name pid start; do
    [[ $name == "$1" && $(start_time "$pid") == "$start" ]] && echo "$pid" && return 0
  done <"$dir/pids"
  return 1
}

record() { echo "$1 $2 $(start_time "$2")" >>"$dir/pids"; }

# end_recorded NAME|'': ends it, or all, and waits until it is gone.
end_recorded() {
  local name pid start
  [[ -e $dir/pids ]] || return 0
  while read -r name pid start; do
    [[ -n $1 && $name != "$1" ]] && continue
    for ((i = 0; i < 500; i++)); do
      [[ $(start_time "$pid") == "$start" ]] || break
      kill -KILL "$pid" 2>/dev/null || true
      sleep 0.01
    done
  done <"$dir/pids"
}

# check_machine PROGRAM...: that it has them, and may make hosts.
check_machine() {
  [[ $(id -u) -eq 0 ]] || fail "not root"
  for program in ip unshare nsenter "$@"; do
    command -v "$program" >/dev/null || fail "$program is not installed (scripts/setup)"
  done
  unshare --net --uts --ipc --pid --mount --fork true 2>/dev/null || fail "this kernel lets nobody make namespaces"
  ip link add name "${family}try" type bridge 2>/dev/null || fail "this kernel lets nobody make a bridge"
  ip link del "${family}try"
}

# open_lab [OWNER]: its bridge. It goes down when the process OWNER ends.
open_lab() {
  : >"$dir/pids"
  make_bridge
  [[ -n ${1-} ]] || return 0
  # shellcheck disable=SC2016  # for that shell
  setsid bash -c 'tail --pid="$1" -f /dev/null; exec "$2" down "$3"' watch "$1" "$lab" "$dir" \
    </dev/null >"$dir/watch.log" 2>&1 &
  disown $!
}

# A free bridge: its creation is atomic, so two labs never get the same.
make_bridge() {
  for ((slot = 1; slot < 250; slot++)); do
    if ip link add name "$family$slot" type bridge 2>/dev/null; then
      bridge=$family$slot
      subnet=$network.$slot
      printf 'bridge=%s\nsubnet=%s\n' "$bridge" "$subnet" >"$dir/net"
      # Without its bridge an address of the lab leads nowhere, least of all out of this machine.
      ip route replace unreachable "$subnet.0/24" metric 4278198272
      ip addr add "$subnet.1/24" dev "$bridge"
      ip link set "$bridge" up
      return
    fi
  done
  fail "no bridge is free"
}

# first_child PID: a namespace's process 1, seen from outside.
first_child() {
  local children
  read -r children <"/proc/$1/task/$1/children" || true
  [[ -n $children ]] && echo "${children%% *}"
}

# start_host NAME [ARGUMENT...]: a host, up to where it waits for a line in its pipe.
start_host() {
  local name=$1 pid inside
  rm -f "$dir/$name.go"
  mkfifo "$dir/$name.go"
  ip link del "$bridge-$name" 2>/dev/null || true  # of one that was killed: it may outlive it for a while
  setsid unshare --net --uts --ipc --pid --mount --propagation private --mount-proc --fork --kill-child=KILL \
    "$lab" inside "$dir" "$@" </dev/null >"$dir/$name.log" 2>&1 &
  pid=$!
  record "$name" "$pid"
  for ((i = 0; i < 500; i++)); do
    inside=$(first_child "$pid") && [[ $(readlink "/proc/$inside/ns/net") != $(readlink /proc/self/ns/net) ]] && break
    sleep 0.01
  done
  plug_in "$name" "$inside"
  ip link set "$bridge-$name" master "$bridge" up
}

# plug_in NAME PID: a cable between here and that host, whose first process it is. A lab may have its own.
plug_in() { plain_cable "$@"; }

plain_cable() {
  ip link add "$bridge-$1" type veth peer name eth0 netns "$2" || fail "no cable to $1: $(cat "$dir/$1.log")"
}

# enter_host NAME ADDRESS, the first thing inside: waits for the line, which is `told` then, and has a network.
enter_host() {
  hostname "$1"
  # shellcheck disable=SC2034  # for the lab
  read -r told <"$dir/$1.go"
  ip link set lo up
  # One address on the wire, also after a restart: others remember it.
  # shellcheck disable=SC2086  # four words
  ip link set dev eth0 address "$(printf '02:4d:%02x:%02x:%02x:%02x' ${2//./ })"
  ip addr add "$2/24" dev eth0
  ip link set eth0 up
}

# stay_up, the last thing inside: process 1 reaps whatever is orphaned there, for as long as it waits.
stay_up() {
  while :; do
    sleep infinity &
    wait $! || true
  done
}

# on_host NAME COMMAND...: in place of the lab's process.
on_host() {
  local pid
  pid=$(first_child "$(pid_of "$1")") || fail "no host $1"
  shift
  exec nsenter -t "$pid" --net --uts --ipc --pid --mount -- setpriv --pdeathsig KILL "$@"
}

# close_lab: ends all that is recorded, and takes the network away.
close_lab() {
  [[ -e $dir/net ]] || return 0
  end_recorded ''
  # Their networks go some time after them, and the next lab's cables may have the same names.
  while read -r link _; do
    [[ $link == "$bridge"-* ]] && { ip link del "${link%%@*}" 2>/dev/null || true; }
  done < <(ip -br link show)
  ip link del "$bridge" 2>/dev/null || true
  ip route del unreachable "$subnet.0/24" metric 4278198272 2>/dev/null || true
  rm -f "$dir/net"
}
