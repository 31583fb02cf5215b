#!/usr/bin/env bash
# A Slurm cluster of one node, this machine, from Debian's packages: for tests and for trying the profile out. No systemd needed.
#
#   tests/cluster/one_node_slurm.sh up       install what is missing, write slurm.conf, start the daemons, wait until the node is idle
#   tests/cluster/one_node_slurm.sh down     stop the daemons that `up` started, remove slurm.conf and the state
#   tests/cluster/one_node_slurm.sh status   the node's state (exit status 1: not up)
#
# A slurm.conf that `up` did not write is never touched: exit status 4. Where it cannot work (not root, no apt): exit status 3.
# The packages and munge's key stay after `down`.
set -euo pipefail

conf=${SLURM_CONF:-/etc/slurm/slurm.conf} # where Slurm's commands look as well
mark='# Written by tests/cluster/one_node_slurm.sh of smallmines: a cluster of one node'
state=/var/lib/smallmines-slurm

stop() { # exit status, then expected, found, do
  printf 'expected  %s\nfound     %s\ndo        %s\n' "$2" "$3" "$4" >&2
  exit "$1"
}

refuse_foreign() {
  if [ -e "$conf" ] && ! grep -qxF "$mark" "$conf"; then
    stop 4 "no slurm.conf, or one that this script wrote" "$conf, which is not ours and stays as it is" "use the cluster that it belongs to"
  fi
}

need_root() {
  [ "$(id -u)" -eq 0 ] || stop 3 "root, to install and start Slurm" "user $(id -un)" "run it as root, in a container or a machine of its own"
}

install_missing() {
  local missing=()
  command -v slurmctld >/dev/null && command -v slurmd >/dev/null && command -v sbatch >/dev/null || missing+=(slurm-wlm)
  command -v munged >/dev/null || missing+=(munge)
  [ ${#missing[@]} -gt 0 ] || return 0
  command -v apt-get >/dev/null || stop 3 "the packages ${missing[*]}" "neither them nor apt-get" "install Slurm and munge by hand"
  echo "installing ${missing[*]}"
  exec 8>/tmp/smallmines-apt.lock # other tests install, too
  flock 8
  apt-get update -q=2
  DEBIAN_FRONTEND=noninteractive apt-get install -q=2 --yes --no-install-recommends "${missing[@]}" >/dev/null
  exec 8>&-
}

write_conf() {
  local host memory
  host=$(hostname -s)
  memory=$(awk '/^MemTotal/ {print int($2 / 1024 * 0.9)}' /proc/meminfo)
  mkdir -p "$(dirname "$conf")"
  cat >"$conf" <<CONF
$mark
ClusterName=smallmines
SlurmctldHost=$host(127.0.0.1)
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
StateSaveLocation=$state/state
SlurmdSpoolDir=$state/spool
SlurmctldPidFile=$state/slurmctld.pid
SlurmdPidFile=$state/slurmd.pid
SlurmctldLogFile=$state/log/slurmctld.log
SlurmdLogFile=$state/log/slurmd.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SchedulerType=sched/backfill
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
ReturnToService=2
NodeName=$host NodeAddr=127.0.0.1 CPUs=$(nproc) RealMemory=$memory State=UNKNOWN
PartitionName=main Nodes=$host Default=YES MaxTime=INFINITE State=UP
CONF
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

running() { # pid file, name: whether the process of that file lives and is that daemon
  [ -s "$1" ] && [ "$(cat "/proc/$(cat "$1")/comm" 2>/dev/null)" = "$2" ]
}

node_state() { sinfo --noheader --format=%T 2>/dev/null | head -n 1; }

up() {
  refuse_foreign
  need_root
  install_missing
  [ "$(node_state)" = idle ] || [ "$(node_state)" = mixed ] || [ "$(node_state)" = allocated ] || {
    mkdir -p "$state/state" "$state/spool" "$state/log"
    start_munge
    running "$state/slurmctld.pid" slurmctld || running "$state/slurmd.pid" slurmd || write_conf
    running "$state/slurmctld.pid" slurmctld || slurmctld
    running "$state/slurmd.pid" slurmd || slurmd
  }
  for _ in $(seq 60); do
    case $(node_state) in
    idle | mixed | allocated)
      sinfo
      return
      ;;
    esac
    sleep 1
  done
  tail -n 20 "$state"/log/*.log >&2
  stop 1 "an idle node within 60 s" "state '$(node_state)'" "look at $state/log"
}

down() {
  refuse_foreign
  need_root
  local daemon pid
  for daemon in slurmd slurmctld munged; do
    running "$state/$daemon.pid" $daemon || continue
    pid=$(cat "$state/$daemon.pid")
    kill "$pid"
    for _ in $(seq 100); do
      [ -d "/proc/$pid" ] || break
      sleep 0.1
    done
  done
  rm -f "$conf"
  rm -rf "$state"
}

case ${1:-} in
up) up ;;
down) down ;;
status)
  refuse_foreign
  command -v sinfo >/dev/null && [ -n "$(node_state)" ] && sinfo
  ;;
*)
  sed -n 's/^# \{0,1\}//; 2,9p' "$0" >&2
  exit 2
  ;;
esac
