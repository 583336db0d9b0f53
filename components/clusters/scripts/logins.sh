# shellcheck shell=bash
# Sourced on a host: logins of the site's mirrors, in the form of containerd's configuration. containerd's own word for it is
# deprecated, and yet the only one for mirrors that give tokens: a header of hosts.toml does not reach the token service.
MIRROR_LOGINS=${MIRROR_LOGINS:-/etc/litelab/registries-auth.json}

# mirror_logins PLUGIN: TOML, for the plugin that pulls images; nothing without logins.
mirror_logins() {
  local host login
  [ -r "$MIRROR_LOGINS" ] || return 0
  sed -n 's|^ "\([^"]*\)": {"auth": "\([^"]*\)"},\{0,1\}$|\1 \2|p' "$MIRROR_LOGINS" |
    while read -r host login; do printf '[plugins."%s".registry.configs."%s".auth]\n  auth = "%s"\n' "$1" "$host" "$login"; done
}
