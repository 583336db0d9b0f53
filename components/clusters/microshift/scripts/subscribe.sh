#!/bin/bash
# subscribe.sh create|delete, on a RHEL host: a subscription by activation key, MicroShift's repositories and the pull secret; and, before
# the host goes, the end of it: else Red Hat goes on counting a machine that is no more.
# Input: REPOSITORIES, ---, then a JSON object {"organization", "activationKey", "pullSecret"}, which no argument, file but the pull
# secret's own, or log shows.
set -euo pipefail
# shellcheck source-path=SCRIPTDIR source=../../scripts/step.sh
. "$(dirname "$0")/step.sh"
# shellcheck source-path=SCRIPTDIR source=microshift.sh
. "$(dirname "$0")/microshift.sh"

registered() { timeout -k 5 60 subscription-manager identity >/dev/null 2>&1; }

python() {
  local program
  for program in /usr/libexec/platform-python python3; do
    if command -v "$program" >/dev/null; then
      "$program" "$@"
      return
    fi
  done
  die "no Python is here, which subscription-manager is written in: is this RHEL?"
}

create() {
  local secrets last code=0 repository was=registered
  read_input
  secrets=$(cat)
  command -v subscription-manager >/dev/null || die "subscription-manager is not here: flavour rhel takes hosts of Red Hat Enterprise Linux. On CentOS Stream or Ubuntu, set flavour: community."
  registered || was=unregistered
  # A step that fails is in no state: nobody would give back what it took.
  [ "$was" = registered ] || trap 'code=$?; [ "$code" -eq 0 ] || delete; exit "$code"' EXIT
  # subscription-manager takes a key as an argument, which everybody on the host can read; its D-Bus service takes it otherwise.
  last=$(python "$(dirname "$0")/subscribe.py" "$PULL_SECRET" "$was" <<<"$secrets" 2>&1) || code=$?
  [ "$code" -eq 0 ] || die "the host could not be subscribed: $(one_line "$last"). Are microshift:organization and microshift:activationKey those of console.redhat.com, and does the host reach subscription.rhsm.redhat.com?"
  for repository in ${REPOSITORIES//,/ }; do
    packages "enable the repository $repository" 180 subscription-manager repos --enable "$repository"
  done
  step_done subscribe
}

delete() {
  local limit=${UNREGISTER_S:-240} deadline last
  deadline=$((SECONDS + limit))
  while registered; do
    last=$(timeout -k 5 90 subscription-manager unregister 2>&1 </dev/null) || true
    # Its word is not enough: what counts is that it no longer has an identity.
    registered || break
    [ "$SECONDS" -lt "$deadline" ] || die "waited $limit s for 'subscription-manager unregister': $(one_line "$last"). Nothing of the host was removed. Run the same command again when it reaches Red Hat; or remove the system in console.redhat.com and this step with 'pulumi state delete'."
    sleep 5
  done
  rm -f "$PULL_SECRET"
}

case ${1:-} in
create | delete) "$1" ;;
*) die "usage: subscribe.sh create|delete" ;;
esac
