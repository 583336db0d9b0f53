# shellcheck shell=sh
# . ./env.sh: plain pulumi for this checkout's labs, from any folder. Works in sh, bash and zsh; direnv reads it too.
# shellcheck disable=SC2296,SC3028,SC3054 # each shell has its own word for this file
if [ -n "${BASH_SOURCE:-}" ]; then _litelab=${BASH_SOURCE[0]}; elif [ -n "${ZSH_VERSION:-}" ]; then _litelab=${(%):-%x}; else _litelab=./env.sh; fi
# The variable's own value would print the folder's name once more.
_litelab=$(unset CDPATH; cd -- "$(dirname -- "$_litelab")" && pwd)
if [ ! -f "$_litelab/tools/environment.py" ]; then
  echo "env.sh: in this shell, source it from the checkout's own folder" >&2
elif _litelab_sets=$(python3 -I "$_litelab/tools/environment.py" shell); then
  eval "$_litelab_sets"
  if [ ! -x "$LITELAB_CACHE/bin/pulumi" ] || [ ! -e "$PULUMI_CONFIG_PASSPHRASE_FILE" ]; then
    echo "env.sh: set-up has not run here yet, so there is no pulumi: run 'make setup' first (the first time with sudo)" >&2
  fi
else
  echo "env.sh: nothing was set; the line above says why" >&2
fi
unset _litelab _litelab_sets
