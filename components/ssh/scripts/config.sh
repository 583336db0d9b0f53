# shellcheck shell=bash
# Sourced by what runs on the operator's machine: the one writer of a lab's ssh_config and known_hosts.
# RUN is the stack's run folder, with a physical path.
#
# Each host has one record, RUN/ssh/HOST, lines of KEY VALUE:
#   Address       where ssh connects to
#   Port          default 22
#   User          default root
#   Identity      path of the private key; from the run folder, unless it begins with /
#   Agent         yes: the keys of the operator's agent too
#   HostKey       TYPE KEY of the host; may repeat
#   Known         a line of known_hosts as it is, where a HostKey would not do; may repeat
#   ConnectS      seconds for a connection, default 10
#   ProxyCommand  a command of ssh_config(5), for hosts behind a machine that the operator's own configuration knows
#   JumpAddress, JumpPort, JumpUser, JumpIdentity, JumpAgent, JumpKnown: the bastion before the host, in the same way

# shellcheck source-path=SCRIPTDIR source=sharing.sh
. "$(dirname "${BASH_SOURCE[0]}")/sharing.sh"

# _quoted TEXT, _path PATH: REPLY is what ssh_config(5) reads as that.
_quoted() {
  REPLY=${1//\\/\\\\}
  REPLY=\"${REPLY//\"/\\\"}\"
}
_path() {
  [[ $1 == /* ]] || set -- "$RUN/$1"
  _quoted "${1//%/%%}"
}

# _login IDENTITY AGENT: how a connection proves who it is, into $block.
_login() {
  local only=yes agent=none
  # With a key the agent is asked for that key alone: servers count each key that is offered.
  [ "$2" != yes ] || agent=SSH_AUTH_SOCK
  if [ -n "$1" ]; then
    _path "$1"
  else
    REPLY=none only=no
  fi
  block+="  IdentityFile $REPLY"$'\n'"  IdentitiesOnly $only"$'\n'"  IdentityAgent $agent"$'\n'
}

# _block HOST: the record's part of ssh_config, into $config, and of known_hosts, into $known.
_block() {
  local host=$1 key value block='' jump='' line
  local at='' port=22 user=root keyfile='' agent=no connect=10 proxy='' alias=''
  local jaddress='' jport=22 juser=root jkeyfile='' jagent=no
  while read -r key value; do
    case $key in
    Address) at=$value ;;
    Port) port=$value ;;
    User) user=$value ;;
    Identity) keyfile=$value ;;
    Agent) agent=$value ;;
    ConnectS) connect=$value ;;
    ProxyCommand) proxy=$value ;;
    HostKey)
      # By a name of the lab's own: a host may get the address of one that is gone.
      alias="  HostKeyAlias $host"$'\n'
      known+="$host $value"$'\n'
      ;;
    Known | JumpKnown)
      # Hosts may have such lines in common.
      [[ $'\n'$known == *$'\n'"$value"$'\n'* ]] || known+=$value$'\n'
      ;;
    JumpAddress) jaddress=$value ;;
    JumpPort) jport=$value ;;
    JumpUser) juser=$value ;;
    JumpIdentity) jkeyfile=$value ;;
    JumpAgent) jagent=$value ;;
    [0-9]*.*)
      # A record of before records had keys: ADDRESS[:PORT] KEYTYPE KEY.
      at=${key%:*} keyfile=id_ed25519 alias="  HostKeyAlias $host"$'\n'
      [[ $key != *:* ]] || port=${key#*:}
      known+="$host $value"$'\n'
      ;;
    esac
  done 2>/dev/null <"$RUN/ssh/$host" || return 0
  [ -n "$at" ] || return 0
  if [ -n "$jaddress" ]; then
    jump=jump-of-$host
    _quoted "$juser"
    block="Host $jump"$'\n'"  HostName $jaddress"$'\n'"  Port $jport"$'\n'"  User $REPLY"$'\n'
    _login "$jkeyfile" "$jagent"
    block+="  ConnectTimeout $connect"$'\n'
    config+=$block
    if [[ $RUN == *[!A-Za-z0-9/_.,@+=:-]* ]]; then
      # ProxyJump hands the path of its configuration to a shell as it is. Bash's own quoting has forms that /bin/sh can't read.
      line=\'${RUN//\'/\'\\\'\'}\'
      proxy="ssh -F ${line//%/%%}/ssh_config -W [%h]:%p $jump" jump=''
    fi
  fi
  _quoted "$user"
  block="Host $host"$'\n'"  HostName $at"$'\n'"  Port $port"$'\n'"  User $REPLY"$'\n'$alias
  _login "$keyfile" "$agent"
  [ -z "$jump" ] || block+="  ProxyJump $jump"$'\n'
  [ -z "$proxy" ] || block+="  ProxyCommand $proxy"$'\n'
  block+="  ConnectTimeout $connect"$'\n'
  config+=$block
}

# _head: how a configuration of this place begins; another head means that it is of another place.
_head() { HEAD="# Made with the lab, from $RUN/ssh; 'make ssh STACK=${RUN##*/} HOST=host-1' and ssh -F use it."; }

# ssh_write: both files from the records that there are; none without records.
ssh_write() {
  local path config known='' HEAD
  local -a numbered=()
  if [[ $RUN == *"\${"* || $RUN == *$'\n'* ]]; then
    echo "error: ssh can't use files in $RUN: its configuration takes no path with '\${' or a line's end in it. Move the checkout to another path." >&2
    return 1
  fi
  mkdir -p "$RUN/ssh"
  exec 7>"$RUN/ssh/.lock"
  flock -w 60 7 || {
    echo "error: $RUN/ssh/.lock has been held for 60 s; 'fuser $RUN/ssh/.lock' names the process." >&2
    return 1
  }
  for path in "$RUN"/ssh/host-*; do
    [[ ! -e $path || ! ${path##*/host-} =~ ^[0-9]+$ ]] || numbered[${path##*/host-}]=${path##*/}
  done
  if [ "${#numbered[@]}" -eq 0 ]; then
    rm -f "$RUN/ssh_config" "$RUN/known_hosts"
  else
    _head
    config=$HEAD$'\n'
    # In the order of their numbers, which the array has.
    for path in "${numbered[@]}"; do _block "$path"; done
    _path known_hosts
    config+="Host *"$'\n'"  Ciphers ^aes128-gcm@openssh.com,aes256-gcm@openssh.com"$'\n'"  ForwardAgent no"$'\n'"  UserKnownHostsFile $REPLY"$'\n'
    config+="  GlobalKnownHostsFile /dev/null"$'\n'"  StrictHostKeyChecking yes"$'\n'"  UpdateHostKeys no"$'\n'"  BatchMode yes"$'\n'"  ServerAliveInterval 15"$'\n'
    (
      umask 077
      printf %s "$known" >"$RUN/.known_hosts.new"
      printf %s "$config" >"$RUN/.ssh_config.new"
    )
    mv "$RUN/.known_hosts.new" "$RUN/known_hosts"
    mv "$RUN/.ssh_config.new" "$RUN/ssh_config"
  fi
  exec 7>&-
}

# ssh_record HOST <RECORD: a host more, or one that is reached otherwise.
ssh_record() {
  local record
  record=$(cat)
  mkdir -p "$RUN/ssh"
  [ "$record" = "$(cat "$RUN/ssh/$1" 2>/dev/null || true)" ] || unshare "$1"
  (umask 077 && printf '%s\n' "$record" >"$RUN/ssh/.$1.new")
  mv "$RUN/ssh/.$1.new" "$RUN/ssh/$1"
  ssh_write
}

# ssh_forget HOST: a host less.
ssh_forget() {
  unshare "$1"
  rm -f "$RUN/ssh/$1"
  [ ! -d "$RUN/ssh" ] || ssh_write
}

# ssh_restore: both files as the records have them, where they are missing or were made at another place: a checkout may be moved.
ssh_restore() {
  local line='' HEAD
  [ -d "$RUN/ssh" ] || return 0
  _head
  { read -r line <"$RUN/ssh_config"; } 2>/dev/null || true
  [[ $line == "$HEAD" && -r $RUN/known_hosts ]] || ssh_write
}

# ssh_user HOST: REPLY is as whom ssh logs in.
ssh_user() {
  local key value
  REPLY=root
  while read -r key value; do [ "$key" != User ] || REPLY=$value; done 2>/dev/null <"$RUN/ssh/$1" || true
}
