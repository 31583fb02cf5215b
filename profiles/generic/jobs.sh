#!/usr/bin/env bash
# Submits a job to a batch system, or says how a job stands. Called by the executor cluster-generic, see profile.yaml beside this file.
#
#   jobs.sh pbs|sge|lsf submit THREADS MEGABYTES MINUTES SCRIPT   prints the job's id
#   jobs.sh pbs|sge|lsf status ID                                 prints running, success or failed
#
# Sites differ: queues, projects and the name of the parallel environment (smp) go into the `submit` lines.
set -euo pipefail

logs=logs/cluster # what the batch system itself says, in the folder of the run
mkdir -p "$logs"

case $1-$2 in
pbs-submit) # OpenPBS, PBS Professional
  qsub -V -N smallmines -j oe -o "$logs/" -l "select=1:ncpus=$3:mem=$4mb" -l "walltime=$(($5 * 60))" "$6"
  ;;
pbs-status) # a server that is busy does not answer each time
  for wait in 5 10 20 40 end; do
    job=$(qstat -x -f "$3") && break
    [ "$wait" != end ] || exit 1
    sleep "$wait"
  done
  case $job in
  *"job_state = F"*) grep -q "Exit_status = 0$" <<<"$job" && echo success || echo failed ;;
  *) echo running ;;
  esac
  ;;
sge-submit) # Grid Engine; memory is asked for each slot
  qsub -terse -V -cwd -N smallmines -j y -o "$logs/" -pe smp "$3" -l "h_vmem=$(($4 / $3))M" -l "h_rt=$(($5 * 60))" "$6"
  ;;
sge-status) # a job is in qstat until it ends, and some seconds later in qacct, after records of a try before or of an older job of its number
  if qstat -j "$3" >/dev/null 2>&1; then
    echo running
  else
    job=$(qacct -j "$3" 2>/dev/null | awk '/^=+$/ { last = "" } { last = last $0 "\n" } END { printf "%s", last }') || job=
    case $job in
    "") echo running ;;
    *) grep -qE "^failed +0( |$)" <<<"$job" && grep -qE "^exit_status +0( |$)" <<<"$job" && echo success || echo failed ;;
    esac
  fi
  ;;
lsf-submit)
  bsub -J smallmines -oo "$logs/%J.log" -n "$3" -R "span[hosts=1]" -M "$4MB" -W "$5" <"$6" | sed -n 's/^Job <\([0-9]*\)>.*/\1/p'
  ;;
lsf-status)
  case $(bjobs -noheader -o stat "$3") in
  DONE) echo success ;;
  EXIT) echo failed ;;
  *) echo running ;;
  esac
  ;;
*)
  echo "expected  pbs, sge or lsf, then submit or status; found $1 $2" >&2
  exit 2
  ;;
esac
