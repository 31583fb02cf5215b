#!/usr/bin/env bash
# A Slurm cluster on this machine, from Debian's packages: for tests and for trying the profile out. No systemd needed.
#
#   tests/cluster/slurm.sh up [--nodes N]   install what is missing, start the daemons, wait until the nodes (2) are idle
#   tests/cluster/slurm.sh kill NODE        end a node at once, with all that runs on it, as if it had lost power
#   tests/cluster/slurm.sh start NODE       start a killed node again
#   tests/cluster/slurm.sh down             stop the daemons that `up` started, remove their configuration and state
#   tests/cluster/slurm.sh status           the nodes' states (exit status 1: not up)
#
# Each node is a `slurmd -N node1`, `node2`, … in a PID namespace of its own; all see the same files. Jobs are recorded by slurmdbd in a
# MariaDB of its own, so that `sacct` works, and need an account, which root has.
# A slurm.conf or slurmdbd.conf that `up` did not write is never touched: exit status 4. Where it cannot work (not root, no apt): 3.
# The packages and munge's key stay after `down`.
set -euo pipefail

conf=${SLURM_CONF:-/etc/slurm/slurm.conf} # where Slurm's commands look as well
dbd_conf=$(dirname "$conf")/slurmdbd.conf
mark='# Written by tests/cluster/slurm.sh of smallmines'
state=/var/lib/smallmines-slurm
database_port=16819
packages=(slurm-wlm munge slurmdbd mariadb-server-core mariadb-client-core)

stop() { # exit status, then expected, found, do
  printf 'expected  %s\nfound     %s\ndo        %s\n' "$2" "$3" "$4" >&2
  exit "$1"
}

refuse_foreign() {
  local file
  for file in "$conf" "$dbd_conf"; do
    if [ -e "$file" ] && ! grep -qxF "$mark" "$file"; then
      stop 4 "no $(basename "$file"), or one that this script wrote" "$file, which is not ours and stays as it is" "use the cluster that it belongs to"
    fi
  done
}

need_root() {
  [ "$(id -u)" -eq 0 ] || stop 3 "root, to install and start Slurm" "user $(id -un)" "run it as root, in a container or a machine of its own"
  unshare --pid --fork true || stop 3 "the right to make PID namespaces" "unshare, which fails" "run it as root of a machine, or in a privileged container"
}

install_missing() {
  local command
  for command in sbatch slurmctld slurmd munged slurmdbd mariadbd my_print_defaults mariadb-install-db; do
    command -v $command >/dev/null || break
    [ $command != mariadb-install-db ] || return 0
  done
  command -v apt-get >/dev/null || stop 3 "the packages ${packages[*]}" "neither them nor apt-get" "install them by hand"
  echo "installing ${packages[*]}"
  exec 8>/tmp/smallmines-apt.lock # other tests install, too
  flock 8
  apt-get update -q=2
  DEBIAN_FRONTEND=noninteractive apt-get install -q=2 --yes --no-install-recommends "${packages[@]}" >/dev/null
  exec 8>&-
}

write_conf() { # number of nodes; they share the cores and the memory of this machine
  local host memory cpus
  host=$(hostname -s)
  memory=$(awk -v nodes="$1" '/^MemTotal/ {print int($2 / 1024 * 0.9 / nodes)}' /proc/meminfo)
  cpus=$((($(nproc) + $1 - 1) / $1))
  mkdir -p "$(dirname "$conf")"
  cat >"$conf" <<CONF
$mark
ClusterName=smallmines
SlurmctldHost=$host(127.0.0.1)
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
StateSaveLocation=$state/state
SlurmdSpoolDir=$state/spool/%n
SlurmctldPidFile=$state/slurmctld.pid
SlurmdPidFile=$state/slurmd.%n.pid
SlurmctldLogFile=$state/log/slurmctld.log
SlurmdLogFile=$state/log/slurmd.%n.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SchedulerType=sched/backfill
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
JobAcctGatherType=jobacct_gather/linux
JobAcctGatherFrequency=5
AccountingStorageType=accounting_storage/slurmdbd
AccountingStorageHost=127.0.0.1
AccountingStorageEnforce=associations
AccountingStoreFlags=job_comment
SlurmdParameters=config_overrides
ReturnToService=2
SlurmdTimeout=10
KillWait=5
NodeName=node[1-$1] NodeHostname=$host NodeAddr=127.0.0.1 Port=[17001-$((17000 + $1))] CPUs=$cpus RealMemory=$memory State=UNKNOWN
PartitionName=main Nodes=node[1-$1] Default=YES MaxTime=INFINITE State=UP
CONF
  (
    umask 077
    cat >"$dbd_conf" <<CONF
$mark
DbdHost=localhost
SlurmUser=root
AuthType=auth/munge
StorageType=accounting_storage/mysql
StorageHost=127.0.0.1
StoragePort=$database_port
StorageUser=slurm
StoragePass=slurm
PidFile=$state/slurmdbd.pid
LogFile=$state/log/slurmdbd.log
CONF
  )
}

munge_works() { munge -n 2>/dev/null | unmunge >/dev/null 2>&1; }

start_munge() { # as its own user; one that runs already is used, and left alone by `down`
  munge_works && return 0
  [ -s /etc/munge/munge.key ] || { (umask 077 && head -c 1024 /dev/urandom >/etc/munge/munge.key) && chown munge: /etc/munge/munge.key; }
  install -d -o munge -g munge -m 755 /run/munge
  install -d -o munge -g munge -m 700 /var/lib/munge /var/log/munge
  setpriv --reuid munge --regid munge --clear-groups munged
  cp /run/munge/munged.pid "$state/munged.pid"
}

running() { # pid file, name: whether the process of that file lives and is that program
  [ -s "$1" ] && [ "$(cat "/proc/$(cat "$1")/comm" 2>/dev/null)" = "$2" ]
}

within() { # seconds, command: until it succeeds
  local second
  for second in $(seq "$1"); do
    "${@:2}" >/dev/null 2>&1 && return 0
    sleep 1
  done
  return 1
}

listening() { (exec 3<>"/dev/tcp/127.0.0.1/$1"); }

start_database() { # a MariaDB that only this machine reaches, and slurmdbd on it
  local settings=(--no-defaults --datadir="$state/database" --user=root)
  running "$state/mariadbd.pid" mariadbd || {
    mariadb-install-db "${settings[@]}" --skip-test-db --auth-root-authentication-method=normal >"$state/log/mariadb-install-db.log" 2>&1
    printf '%s\n' "CREATE DATABASE slurm_acct_db;" "CREATE USER slurm@localhost IDENTIFIED BY 'slurm';" \
      "GRANT ALL ON slurm_acct_db.* TO slurm@localhost;" >"$state/database.sql"
    setsid mariadbd "${settings[@]}" --socket="$state/mariadb.sock" --port=$database_port --bind-address=127.0.0.1 --init-file="$state/database.sql" \
      --innodb-buffer-pool-size=64M --pid-file="$state/mariadbd.pid" >"$state/log/mariadbd.log" 2>&1 </dev/null &
    within 60 listening $database_port
  }
  running "$state/slurmdbd.pid" slurmdbd || slurmdbd
  within 60 listening 6819
}

start_account() {
  within 30 sacctmgr show cluster
  sacctmgr -i -Q add cluster smallmines >/dev/null || true
  sacctmgr -i -Q add account geography cluster=smallmines >/dev/null || true
  sacctmgr -i -Q add user root account=geography defaultaccount=geography >/dev/null || true
}

start_node() { # its processes are in a PID namespace, which ends with its first process
  running "$state/$1.pid" unshare && return 0
  mkdir -p "$state/spool/$1"
  setsid unshare --pid --fork --mount-proc --kill-child slurmd -D -N "$1" >"$state/log/$1.log" 2>&1 </dev/null &
  echo $! >"$state/$1.pid"
}

kill_node() {
  running "$state/$1.pid" unshare || stop 1 "a running node" "'$1'" "take one of: $(sinfo --noheader --Node --format=%N | xargs)"
  kill -KILL "$(cat "$state/$1.pid")"
  rm "$state/$1.pid"
}

nodes_up() { # number: whether so many nodes take jobs
  [ "$(sinfo --noheader --Node --format=%T 2>/dev/null | grep -cxE 'idle|mixed|allocated')" = "$1" ]
}

up() { # number of nodes
  refuse_foreign
  need_root
  install_missing
  mkdir -p "$state/state" "$state/spool" "$state/log" "$state/database"
  start_munge
  running "$state/slurmctld.pid" slurmctld || write_conf "$1"
  start_database
  start_account
  running "$state/slurmctld.pid" slurmctld || slurmctld
  local number
  for number in $(seq "$1"); do start_node "node$number"; done
  within 60 nodes_up "$1" || {
    tail -n 20 "$state"/log/*.log >&2
    stop 1 "$1 idle nodes within 60 s" "$(sinfo --noheader --Node --format='%N %T' | xargs)" "look at $state/log"
  }
  sinfo --Node --long
}

down() {
  refuse_foreign
  need_root
  local file daemon pid
  for file in "$state"/node*.pid; do
    running "$file" unshare && kill_node "$(basename "$file" .pid)"
  done
  for daemon in slurmctld slurmdbd mariadbd munged; do
    running "$state/$daemon.pid" $daemon || continue
    pid=$(cat "$state/$daemon.pid")
    kill "$pid"
    for _ in $(seq 300); do
      [ -d "/proc/$pid" ] || break
      sleep 0.1
    done
  done
  rm -f "$conf" "$dbd_conf"
  rm -rf "$state"
}

case ${1:-} in
up)
  [ $# -eq 1 ] || [ "${2:-} ${3:+N}" = "--nodes N" ] || stop 2 "up, or up --nodes N" "$*" "see the head of $0"
  up "${3:-2}"
  ;;
down) down ;;
kill | start)
  refuse_foreign
  need_root
  "$1_node" "${2:?node}"
  ;;
status)
  refuse_foreign
  command -v sinfo >/dev/null && [ -n "$(sinfo --noheader 2>/dev/null)" ] && sinfo --Node --long
  ;;
*)
  sed -n 's/^# \{0,1\}//; 2,8p' "$0" >&2
  exit 2
  ;;
esac
