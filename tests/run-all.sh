#!/usr/bin/env bash
# What 'make test' runs, in parts whose time it prints at the end, also when one fails. FULL=1: what does not fit its hour too.
set -euo pipefail
cd "$(dirname "$0")/.."

times=''
part() { # part NAME COMMAND...
  local began=$SECONDS code=0
  echo "== $1"
  "${@:2}" || code=$?
  times+=$(printf '%6d s  %s%s' $((SECONDS - began)) "$1" "$([ "$code" -eq 0 ] || echo "  FAILED (exit code $code)")")$'\n'
  return "$code"
}
trap 'printf "\nHow long each part took:\n%s" "$times"; python3 -m tools.setup hand-over' EXIT

part 'set-up' make --no-print-directory setup
part 'check' make --no-print-directory check
part 'command plugin' make --no-print-directory conformance
# shellcheck source=env.sh
. ./env.sh
part 'host contract' pytest -m lab tests/contract
part 'real lab' pytest -m lab tests/lab/test_lab.py tests/lab/test_secrets.py tests/lab/test_shared_connections.py tests/lab/test_state_is_enough.py
part 'distributions' pytest -m 'lab and not slow' tests/lab/test_k0s.py tests/lab/test_k3s.py tests/lab/test_microk8s.py tests/lab/test_microshift.py
part 'faults' pytest -m 'faults and not slow' tests/faults/test_state.py tests/faults/test_signals.py
if why=$(python3 -m tests.libvirt.ground); then
  part 'set-up of virtual machines' make --no-print-directory setup STACK=libvirt-lab
  part 'virtual machines' pytest tests/libvirt/test_libvirt_graph.py tests/libvirt/test_libvirt_previews.py tests/libvirt/test_libvirt_kvm.py tests/libvirt/test_libvirt_guests.py
elif [ -n "$why" ]; then
  times+="     0 s  virtual machines: skipped, $why"$'\n'
else
  exit 1
fi
if [ "${FULL:-}" = 1 ]; then
  part 'further faults' pytest -m 'faults and not slow' tests/faults --deselect tests/faults/test_state.py --deselect tests/faults/test_signals.py
  part 'further labs' pytest -m lab tests/lab --deselect tests/lab/test_lab.py --deselect tests/lab/test_secrets.py --deselect tests/lab/test_shared_connections.py --deselect tests/lab/test_state_is_enough.py
fi
