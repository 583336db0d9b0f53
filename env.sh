# shellcheck shell=sh
# . ./env.sh: plain pulumi for this checkout's labs, from any folder. Works in sh, bash and zsh; direnv reads it too.
# shellcheck disable=SC2296,SC3028,SC3054 # each shell has its own word for this file
if [ -n "${BASH_SOURCE:-}" ]; then _litelab=${BASH_SOURCE[0]}; elif [ -n "${ZSH_VERSION:-}" ]; then _litelab=${(%):-%x}; else _litelab=./env.sh; fi
_litelab=$(cd "$(dirname "$_litelab")" && pwd)
[ -f "$_litelab/Pulumi.yaml" ] || echo "env.sh: in this shell, source it from the checkout's own folder" >&2
LITELAB_CACHE=${LITELAB_CACHE:-$_litelab/.cache}
case $LITELAB_CACHE in /*) ;; *) LITELAB_CACHE=$PWD/$LITELAB_CACHE ;; esac
case :$PATH: in *:"$LITELAB_CACHE/venv/bin":*) ;; *) PATH=$LITELAB_CACHE/venv/bin:$LITELAB_CACHE/bin:$PATH ;; esac
export LITELAB_CACHE PATH
export PULUMI_BACKEND_URL="file://$_litelab/.lab/state"
export PULUMI_HOME="$LITELAB_CACHE/pulumi-home"
export PULUMI_CONFIG_PASSPHRASE_FILE="$_litelab/.lab/passphrase"
export PULUMI_SKIP_UPDATE_CHECK=1
if [ ! -x "$LITELAB_CACHE/bin/pulumi" ] || [ ! -e "$PULUMI_CONFIG_PASSPHRASE_FILE" ]; then
  echo "env.sh: set-up has not run here yet, so there is no pulumi: run 'make setup' first (the first time with sudo)" >&2
fi
unset _litelab
